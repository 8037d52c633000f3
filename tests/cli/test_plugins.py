"""`plugins` with strangers among them, and `plugins check`."""

import json
import socket

import pytest

from celeriac.cli import exits

PLUGIN = """
from celeriac.hookspecs import hookimpl

def load():
    from celeriac_memory.transport import MemoryTransport
    class Stranger(MemoryTransport):
{body}
    return Stranger

@hookimpl
def celeriac_transports():
    return {{{scheme!r}: load}}
"""
ONLY = "OPS,DEAD,LEA-3,LEA-4,PUB-1,LOSS-2,STORE-1"
NO_PEEK = """
        async def peek(self, queue, limit):
            return (await super().peek(queue, limit))[1:]
"""
REFUSES = """
        async def open(self):
            from celeriac.errors import AccessRefused
            raise AccessRefused("user:**@host refuses us")
"""


@pytest.fixture
def stranger(project, celeriac):
    """Install a distribution beside the project; returns a way to run commands with it."""

    def install(name, source):
        (project / f"{name}_plugin.py").write_text(source)
        info = project / f"{name}-9.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 9\n")
        (info / "entry_points.txt").write_text(f"[celeriac]\n{name} = {name}_plugin\n")

    def run(*args, **options):
        return celeriac(*args, PYTHONPATH=str(project), **options)

    install.run = run
    return install


def rows(done):
    return {row["name"]: row for row in json.loads(done.stdout)}


def test_the_broken_are_listed_beside_the_sound(stranger):
    stranger("late", PLUGIN.format(scheme="late", body="        contract = 99"))
    stranger("absent", "import no_such_module_at_all")
    stranger("wrong", "def f(:")
    stranger("same", PLUGIN.format(scheme="memory", body="        pass"))
    listed = stranger.run("plugins", "--json")
    assert listed.returncode == exits.FAILED
    found = rows(listed)
    assert (found["late"]["version"], found["late"]["brokers"], found["late"]["contracts"]) == ("9", ["late"], [99])
    assert "written for contract 99, this celeriac has 1" in found["late"]["error"]
    assert "no_such_module_at_all" in found["absent"]["error"]
    assert "SyntaxError" in found["wrong"]["error"]
    for name in ("same", "memory"):
        assert "two plugins claim 'memory'" in found[name]["error"]
        assert "same:same" in found[name]["error"]
    assert found["sqlite"]["error"] is None
    assert found["sqlite"]["capabilities"]["sqlite"]["lease"] == 30.0
    table = stranger.run("plugins")
    assert "no_such_module_at_all" in table.stdout
    assert "Traceback" not in table.stdout + table.stderr


NO_DRIVER = "        import no_such_driver"


def test_an_extra_that_is_not_installed_is_no_failure(stranger, project):
    stranger("lean", PLUGIN.format(scheme="lean", body=NO_DRIVER))
    with (project / "lean-9.dist-info" / "METADATA").open("a") as file:
        file.write("Provides-Extra: lean\n")
    listed = stranger.run("plugins", "--json")
    assert listed.returncode == exits.OK
    assert (rows(listed)["lean"]["error"], rows(listed)["lean"]["install"]) == (None, "lean[lean]")
    assert "not installed: pip install 'lean[lean]'" in stranger.run("plugins").stdout


def test_a_driver_that_no_extra_brings_is_a_failure(stranger):
    stranger("lean", PLUGIN.format(scheme="lean", body=NO_DRIVER))
    listed = stranger.run("plugins", "--json")
    assert listed.returncode == exits.FAILED
    assert "needs 'no_such_driver', which is not installed; install what brings it" in rows(listed)["lean"]["error"]


OWN = """
from celeriac import App
from celeriac.hookspecs import hookimpl

class Raising:
    @hookimpl
    def celeriac_serializers(self):
        raise RuntimeError("not today")

app = App(broker="memory://")
app.plugins.register(Raising())
"""


def test_one_that_the_app_registers_is_listed_when_it_raises(stranger, project):
    (project / "raising.py").write_text(OWN)
    listed = stranger.run("plugins", "--json", "-A", "raising")
    assert listed.returncode == exits.FAILED
    assert rows(listed)["registered"]["error"] == "Raising: celeriac_serializers raised RuntimeError: not today"


def test_a_plugin_that_raises_when_it_is_asked_is_listed(stranger):
    """Neither one whose constructor raises what it may not, nor one that answers nothing, ends the list."""
    stranger(
        "raises", PLUGIN.format(scheme="raises", body="        def __init__(self, urls, **_): raise KeyError(urls[0])")
    )
    stranger("mute", PLUGIN.format(scheme="mute", body="        def capabilities(self, queue): return None"))
    found = rows(stranger.run("plugins", "--json"))
    assert "raises:// cannot be asked for its capabilities: KeyError" in found["raises"]["error"]
    assert "mute:// cannot be asked for its capabilities: AttributeError" in found["mute"]["error"]
    assert found["memory"]["error"] is None


def test_a_check_tells_each_clause(stranger):
    stranger("mine", PLUGIN.format(scheme="mine", body=NO_PEEK))
    checked = stranger.run("plugins", "check", "mine://x", "--json", "--only", ONLY, timeout=110)
    assert checked.returncode == exits.FAILED, checked.stderr
    told = json.loads(checked.stdout)
    clauses = {clause["id"]: clause for clause in told["clauses"]}
    assert (told["url"], told["ok"], told["contract"]) == ("mine://x", False, 1)
    assert {name for name, clause in clauses.items() if clause["status"] == "failed"} == {"OPS-5", "DEAD-3"}
    assert clauses["OPS-5"]["why"].startswith("test_peek: AssertionError")
    assert (clauses["PUB-1"]["status"], clauses["PUB-1"]["why"]) == ("passed", "")
    assert clauses["LEA-4"] == {
        "id": "LEA-4",
        "status": "not declared",
        "tests": 0,
        "why": "the capability cross_process is not declared",
    }
    assert clauses["LEA-3"]["status"] == "does not apply"
    assert clauses["LOSS-2"]["status"] == "not checked"
    assert clauses["STORE-1"]["status"] == "not checked", "it gives no store"
    assert "20 of " in checked.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["check"], exits.USAGE, "check wants the URL"),
        (["list", "memory://"], exits.USAGE, "list wants no URL"),
        (["check", "nope://host"], exits.MISCONFIGURED, "no plugin for the broker nope://; installed: "),
        (["check", "localhost"], exits.MISCONFIGURED, "is no broker URL"),
        (["check", "memory://?nope=1"], exits.MISCONFIGURED, "unknown URL option 'nope'"),
        (["check", "sqlite:////no/such/folder/x.db"], exits.UNAVAILABLE, "/no/such/folder"),
    ],
)
def test_what_cannot_be_checked_is_said_in_one_error(celeriac, arguments, code, said):
    done = celeriac("plugins", *arguments)
    assert (done.returncode, done.stdout) == (code, "")
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_nobody_answers(celeriac):
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    done = celeriac("plugins", "check", f"amqp://guest:open-sesame@127.0.0.1:{port}")
    assert done.returncode == exits.UNAVAILABLE
    assert "open-sesame" not in done.stdout + done.stderr


def test_strangers_that_cannot_be_checked(stranger):
    stranger("late", PLUGIN.format(scheme="late", body="        contract = 99"))
    stranger("wall", PLUGIN.format(scheme="wall", body=REFUSES))
    late = stranger.run("plugins", "check", "late://x")
    assert (late.returncode, "contract 99" in late.stderr) == (exits.MISCONFIGURED, True)
    wall = stranger.run("plugins", "check", "wall://x")
    assert (wall.returncode, "refuses us" in wall.stderr) == (exits.REFUSED, True)


def test_without_pytest_it_says_what_to_install(stranger, project):
    (project / "sitecustomize.py").write_text("import sys\nsys.modules['pytest'] = None\n")
    done = stranger.run("plugins", "check", "memory://x")
    assert done.returncode == exits.MISCONFIGURED
    assert "pip install 'celeriac[testing]'" in done.stderr


def test_settings_of_pytest_in_that_folder_do_not_matter(stranger, project):
    (project / "pytest.ini").write_text("[pytest]\naddopts = --no-such-option\n")
    (project / "conftest.py").write_text("1 / 0\n")
    stranger("mine", PLUGIN.format(scheme="mine", body="        async def open(self): pass"))
    checked = stranger.run("plugins", "check", "mine://x", "--json", "--only", "OPS", PYTEST_ADDOPTS="--nope")
    assert checked.returncode == exits.FAILED, checked.stderr
    assert {clause["status"] for clause in json.loads(checked.stdout)["clauses"]} == {"failed"}


def test_a_clause_that_nobody_wrote(celeriac):
    done = celeriac("plugins", "check", "memory://", "--only", "NOPE")
    assert (done.returncode, done.stdout) == (exits.FAILED, "")
    assert "0 of 0 tests" in done.stderr
