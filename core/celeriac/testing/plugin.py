"""Fixtures for pytest. Ask for them in your topmost ``conftest.py``: ``pytest_plugins = ["celeriac.testing.plugin"]``.

========================== ==========================================================================================
`celeriac_app`             the App under test, in a sandbox
`celeriac_sandbox`         that `celeriac.testing.Sandbox`: what waits, `drain`, `advance`, faults
`celeriac_worker`          a worker that works while the test runs
`celeriac_app_under_test`  redefine it to return the App of your program; by default each test has a new one
`celeriac_settings`        redefine it to return settings; for one test: ``@pytest.mark.celeriac(acks_late=False)``
`celeriac_sandbox_pool`    redefine it to return ``"solo"``: `drain` then runs tasks on the test's own thread
`celeriac_worker_options`  redefine it to return options of that worker, as of `App.run_worker`
========================== ==========================================================================================

They are not there unless you ask: a pytest that does not want them neither imports nor lists anything of celeriac.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from celeriac.app import App
    from celeriac.testing.sandbox import Sandbox, SandboxWorker


def pytest_configure(config: pytest.Config) -> None:
    """Declare the marker."""
    config.addinivalue_line("markers", "celeriac(**settings): settings of the App under test, for one test")


@pytest.fixture
def celeriac_app_under_test() -> App:
    """Return the App that `celeriac_app` puts into a sandbox: a new one, unless you redefine this."""
    from celeriac.app import App  # noqa: PLC0415 - imported when it is used, here and below

    return App("tests")


@pytest.fixture(scope="session")
def celeriac_settings() -> Mapping[str, Any]:
    """Return settings of the App under test, for every test; none, unless you redefine this."""
    return {}


@pytest.fixture(scope="session")
def celeriac_sandbox_pool() -> str:
    """Return where `drain` runs ``def`` tasks: ``thread``, unless you redefine this."""
    return "thread"


@pytest.fixture(scope="session")
def celeriac_worker_options() -> Mapping[str, Any]:
    """Return the options of `celeriac_worker`; none, unless you redefine this."""
    return {}


@pytest.fixture
def celeriac_sandbox(
    request: pytest.FixtureRequest,
    celeriac_app_under_test: App,
    celeriac_settings: Mapping[str, Any],
    celeriac_sandbox_pool: str,
) -> Iterator[Sandbox]:
    """Put the App under test into a sandbox, for as long as the test runs."""
    from celeriac.testing.sandbox import Sandbox  # noqa: PLC0415

    mark = request.node.get_closest_marker("celeriac")
    settings = {**celeriac_settings, **(mark.kwargs if mark else {})}
    with Sandbox(celeriac_app_under_test, pool=celeriac_sandbox_pool, **settings) as box:
        yield box


@pytest.fixture
def celeriac_app(celeriac_sandbox: Sandbox) -> App:
    """Return the App under test: what it sends stays in the sandbox."""
    return celeriac_sandbox.app


@pytest.fixture
def celeriac_worker(celeriac_sandbox: Sandbox, celeriac_worker_options: Mapping[str, Any]) -> Iterator[SandboxWorker]:
    """Run a worker while the test runs."""
    with celeriac_sandbox.worker(**celeriac_worker_options) as worker:
        yield worker
