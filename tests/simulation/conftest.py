"""A soak is run when it is asked for by its marker: ``pytest -m soak tests/simulation``."""

from __future__ import annotations

from pathlib import Path


def pytest_collection_modifyitems(config, items):
    if "soak" in config.getoption("markexpr"):
        return
    here = Path(__file__).parent
    left_out = [item for item in items if here in item.path.parents and item.get_closest_marker("soak")]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]
