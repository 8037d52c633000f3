"""Imports lead downwards: a file of the core imports from its own floor or a lower one, a transport from floor 1."""

from __future__ import annotations

import re
import sys
from graphlib import CycleError, TopologicalSorter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from tests.architecture.conftest import House, Import

# every file of core/celeriac by its first name; a folder stands for all that is in it. docs/architecture.md shows this
# table, and a test there compares the two.
FLOORS = {
    # 1: vocabulary, the two ports, the protocol
    "clock": 1,
    "codec": 1,
    "control": 1,
    "converters": 1,
    "errors": 1,
    "events": 1,
    "flow": 1,
    "hookspecs": 1,
    "json_codec": 1,
    "lazy": 1,
    "message": 1,
    "middleware": 1,
    "protocol": 1,
    "request": 1,
    "results": 1,
    "retry": 1,
    "saferepr": 1,
    "signing": 1,
    "states": 1,
    "topology": 1,
    "transport": 1,
    "transport_helpers": 1,
    # 2: what an App stands on
    "addresses": 2,
    "configuration": 2,
    "connection": 2,
    "crossing": 2,
    "declared": 2,
    "hooks": 2,
    "locator": 2,
    "plugins": 2,
    "portal": 2,
    "routing": 2,
    "settings": 2,
    # 3: the caller's side
    "__init__": 3,
    "app": 3,
    "client": 3,
    "compat": 3,
    "dead": 3,
    "executor": 3,
    "deferred": 3,
    "loading": 3,
    "parts": 3,
    "publisher": 3,
    "registry": 3,
    "result": 3,
    "sender": 3,
    "submit": 3,
    "task": 3,
    # 4: the worker
    "worker": 4,
    # 5: commands, and the kit for tests
    "__main__": 5,
    "cli": 5,
    "testing": 5,
}
GROUND = 1

# what a command uses where it is installed; each is an extra, and imported inside a function
OPTIONAL = {
    ("celeriac.cli.completion", "shtab"),
    ("celeriac.cli.output", "rich"),
    ("celeriac.cli.reload", "watchfiles"),
}

# the only imports that lead up, each inside a function
DOORS = {
    ("celeriac.app", "celeriac.cli"): "worker_main: a program becomes its own worker",
    ("celeriac.app", "celeriac.worker.inprocess"): "run_worker: a worker inside the caller's process",
    ("celeriac.app", "celeriac.worker.eager"): "task_always_eager: a worker that is the caller",
}


WITH_PYTEST = ("celeriac.testing.conformance", "celeriac.testing.plugin", "celeriac.testing.celery_fixtures")


def test_every_file_has_a_floor(house: House) -> None:
    unknown = [module.name for module in house.core if _room(module.name) not in FLOORS]
    assert not unknown, f"give these a floor in FLOORS and in docs/architecture.md: {unknown}"


def test_every_floor_has_its_files(house: House) -> None:
    gone = FLOORS.keys() - {_room(module.name) for module in house.core}
    assert not gone, f"no such file in core/celeriac any more: {gone}"


def test_the_documented_table_is_this_one(root: Path) -> None:
    """Each row of docs/architecture.md: ``| 4 | `worker/` | what it is |``."""
    text = (root / "docs" / "architecture.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\d) \| (.+?) \|", text, flags=re.MULTILINE)
    documented = {name: int(floor) for floor, cell in rows for name in re.findall(r"`(\w+)(?:\.py|/)`", cell)}
    assert documented == FLOORS


def test_no_import_leads_up(house: House) -> None:
    wrong = [
        str(each) for each in house.imports if _in_core(each.importer) and _in_core(each.target) and _leads_up(each)
    ]
    assert not wrong, "\n".join(wrong)


def test_every_door_is_used(house: House) -> None:
    assert {_door(each) for each in house.imports} - {None} == DOORS.keys()


def test_no_import_cycle(house: House) -> None:
    """None at module level, none hidden inside a function but for the doors."""
    graph: dict[str, set[str]] = {}
    for each in house.imports:
        if each.target in house.names and not _door(each):
            graph.setdefault(each.importer, set()).add(each.target)
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        raise AssertionError(" -> ".join(error.args[1])) from None


def test_the_core_names_no_transport_or_plugin(house: House) -> None:
    ours = {module.package for module in (*house.transports, *house.plugins)}
    wrong = [
        str(each)
        for each in house.imports
        if _in_core(each.importer) and (each.target.startswith("celeriac_") or each.target.partition(".")[0] in ours)
    ]
    assert not wrong, "\n".join(wrong)


def test_the_core_needs_only_pluggy_besides_the_standard_library(house: House) -> None:
    allowed = {"celeriac", "pluggy", *sys.stdlib_module_names}
    wrong = [
        str(each)
        for each in house.imports
        if _in_core(each.importer)
        and each.target.partition(".")[0] not in allowed
        and not _may_import_pytest(each)
        and not (each.deferred and (each.importer, each.target.partition(".")[0]) in OPTIONAL)
    ]
    assert not wrong, "\n".join(wrong)


def test_nothing_in_the_core_imports_the_testing_kit(house: House) -> None:
    kit = "celeriac.testing"
    wrong = [
        str(each)
        for each in house.imports
        if _in_core(each.importer) and _is_in(each.target, kit) and not _is_in(each.importer, kit)
    ]
    assert not wrong, "\n".join(wrong)


def test_nothing_in_the_core_imports_the_way_from_celery(house: House) -> None:
    assert not [str(each) for each in house.imports if _is_in(each.target, "celeriac.compat")]


def test_transports_stand_on_the_ground_floor(house: House) -> None:
    transports = {module.name for module in house.transports}
    wrong = [
        str(each)
        for each in house.imports
        if each.importer in transports and _in_core(each.target) and FLOORS.get(_room(each.target)) != GROUND
    ]
    assert not wrong, "\n".join(wrong)


def test_plugins_use_public_names(house: House) -> None:
    """What `import celeriac` gives, and the vocabulary of the ground floor."""
    plugins = {module.name for module in house.plugins}
    wrong = [
        str(each)
        for each in house.imports
        if each.importer in plugins
        and _in_core(each.target)
        and each.target != "celeriac"
        and FLOORS.get(_room(each.target)) != GROUND
    ]
    assert not wrong, "\n".join(wrong)


def test_no_transport_or_plugin_imports_another(house: House) -> None:
    wrong = [
        str(each)
        for each in house.imports
        if not _in_core(each.importer)
        and each.target.startswith("celeriac_")
        and each.target.partition(".")[0] != each.importer.partition(".")[0]
    ]
    assert not wrong, "\n".join(wrong)


def test_a_plugin_s_entry_module_imports_nothing_but_the_hooks(house: House) -> None:
    """One missing driver must not stop the other plugins, so the module that is loaded for all imports none."""
    entries = {module.package for module in (*house.transports, *house.plugins)}
    allowed = {"celeriac", "celeriac.hookspecs", *sys.stdlib_module_names}
    wrong = [str(each) for each in house.imports if each.importer in entries and not each.deferred]
    wrong = [text for text in wrong if text.rpartition(" ")[2] not in allowed]
    assert not wrong, "\n".join(wrong)


def _leads_up(each: Import) -> bool:
    return not _door(each) and FLOORS.get(_room(each.target), 0) > FLOORS.get(_room(each.importer), 0)


def _door(each: Import) -> tuple[str, str] | None:
    doors = (door for door in DOORS if each.importer == door[0] and _is_in(each.target, door[1]))
    return next(doors, None) if each.deferred else None


def _may_import_pytest(each: Import) -> bool:
    return each.target.partition(".")[0] == "pytest" and any(_is_in(each.importer, room) for room in WITH_PYTEST)


def _room(name: str) -> str:
    return name.split(".")[1] if "." in name else "__init__"


def _in_core(name: str) -> bool:
    return _is_in(name, "celeriac")


def _is_in(name: str, package: str) -> bool:
    return name == package or name.startswith(f"{package}.")
