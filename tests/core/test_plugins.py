"""Plugging in: schemes, strangers, and the errors that say what to do."""

from __future__ import annotations

import subprocess
import sys
from types import SimpleNamespace

import pytest

from celeriac import plugins as module
from celeriac.errors import ConfigurationError, PluginError
from celeriac.hookspecs import hookimpl
from celeriac.plugins import Installed, Plugins, is_bare
from celeriac.transport import Transport
from celeriac.transport_helpers import masked
from celeriac_memory.store import MemoryResultStore
from celeriac_memory.transport import MemoryTransport


class Stranger(MemoryTransport):
    """A transport that somebody else wrote."""


def offers(scheme: str, factory):
    class Plugin:
        @hookimpl
        def celeriac_transports(self):
            return {scheme: factory}

    return Plugin()


def missing():
    import no_such_driver  # noqa: F401


def forget_installed() -> None:
    module.find_installed.cache_clear()
    module._loaded_entry_points.cache_clear()


def test_our_own_come_by_their_entry_points() -> None:
    plugins = Plugins()
    assert {"memory", "sqlite", "amqp"} <= plugins.transports().keys()
    assert plugins.transport("memory://x") is MemoryTransport
    assert plugins.result_store("memory://x") is MemoryResultStore
    ours = {each.name: each.error for each in plugins.installed if each.distribution == "celeriac"}
    assert {"memory", "sqlite", "amqp", "msgpack", "cloudpickle"} <= ours.keys()
    assert not any(ours.values())


def test_a_stranger_s_is_found_by_its_scheme_in_that_app_only() -> None:
    mine, other = Plugins(), Plugins()
    mine.register(offers("strange", lambda: Stranger))
    assert mine.transport("strange://x") is Stranger
    with pytest.raises(ConfigurationError, match="no plugin for the broker strange://; installed: "):
        other.transport("strange://x")


class Raising:
    """What a program may register by mistake."""

    @hookimpl
    def celeriac_transports(self):
        raise RuntimeError("not today")

    @hookimpl
    def celeriac_serializers(self):
        raise RuntimeError("nor tomorrow")


def test_one_of_the_program_that_raises_is_told_where_something_is_missing() -> None:
    plugins = Plugins()
    plugins.register(Raising())
    with pytest.raises(
        ConfigurationError, match=r"Raising did not load \(celeriac_transports raised RuntimeError: not"
    ):
        plugins.transport("strange://x")
    with pytest.raises(
        ConfigurationError, match=r"Raising did not load \(celeriac_serializers raised RuntimeError: nor"
    ):
        plugins.serializer("strange")
    assert plugins.transport("memory://x") is MemoryTransport
    assert plugins.failed().keys() == {"Raising"}


def test_two_for_one_scheme_are_refused() -> None:
    plugins = Plugins()
    plugins.register(offers("memory", lambda: Stranger))
    with pytest.raises(PluginError, match="two plugins claim 'memory'"):
        plugins.transport("memory://x")


def test_what_was_registered_can_be_taken_out() -> None:
    plugins, plugin = Plugins(), offers("strange", lambda: Stranger)
    plugins.register(plugin)
    plugins.unregister(plugin)
    with pytest.raises(ConfigurationError, match="strange"):
        plugins.transport("strange://x")
    plugins.register(plugin)
    assert plugins.transport("strange://x") is Stranger


def test_one_object_is_registered_once() -> None:
    plugins, plugin = Plugins(), offers("strange", lambda: Stranger)
    plugins.register(plugin)
    with pytest.raises(ValueError, match="already registered"):
        plugins.register(plugin)


@pytest.mark.parametrize("url", ["", "memory", "memory:x", "localhost:5672"])
def test_what_is_no_url_says_how_to_write_one(url: str) -> None:
    with pytest.raises(ConfigurationError, match="write scheme://"):
        Plugins().transport(url)


def test_a_password_is_not_shown() -> None:
    for url in ("nope://user:open-sesame@host/", "user:open-sesame@host"):
        with pytest.raises(ConfigurationError) as raised:
            Plugins().transport(url)
        assert "open-sesame" not in str(raised.value)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("amqp://user:open-sesame@host:5672/v", "amqp://user:**@host:5672/v"),
        ("amqp://:open-sesame@host", "amqp://:**@host"),
        ("amqp://user:open@sesame@host", "amqp://user:**@host"),
        ("amqp://user:open/sesame@host", "amqp://user:**@host"),
        ("amqp://user:open#sesame?@host", "amqp://user:**@host"),
        ("user:open-sesame@host", "user:**@host"),
        ("amqp://host:5672/v", "amqp://host:5672/v"),
        ("amqp://user@host/v?heartbeat=10", "amqp://user@host/v?heartbeat=10"),
        ("x://host/?ssl_password=open-sesame&a=1", "x://host/?ssl_password=**&a=1"),
        ("sqlite:///a/b.db", "sqlite:///a/b.db"),
        ("memory://", "memory://"),
    ],
)
def test_secrets_are_masked(url: str, shown: str) -> None:
    assert masked(url) == shown


def test_a_missing_driver_is_named_with_what_to_install() -> None:
    plugins = Plugins()
    plugins.register(offers("strange", missing))
    with pytest.raises(
        PluginError, match=r"needs 'no_such_driver', which is not installed; install what brings it"
    ) as e:
        plugins.transport("strange://x")
    assert e.value.install is None
    assert isinstance(e.value.__cause__, ImportError)
    assert plugins.transport("memory://x") is MemoryTransport, "the others go on"


def test_the_extra_of_a_missing_driver_is_its_plugin_s_name(monkeypatch) -> None:
    plugin = SimpleNamespace(__name__=missing.__module__)
    installed = Installed(
        name="strange", distribution="its-own", version="1", module=missing.__module__, extras=("strange",)
    )
    monkeypatch.setattr(module, "_loaded_entry_points", lambda: ((installed, plugin),))
    plugins = Plugins()
    plugins.register(offers("strange", missing))
    with pytest.raises(PluginError, match=r"pip install 'its-own\[strange\]'") as raised:
        plugins.transport("strange://x")
    assert raised.value.install == "its-own[strange]"


@pytest.mark.parametrize("wrong", [dict, MemoryResultStore, MemoryTransport(["memory://x"], clock=None, on_lost=None)])
def test_what_is_no_transport_is_refused(wrong) -> None:
    plugins = Plugins()
    plugins.register(offers("strange", lambda: wrong))
    with pytest.raises(PluginError, match="which is no Transport"):
        plugins.transport("strange://x")


def test_another_contract_is_refused() -> None:
    class Old(MemoryTransport):
        contract = 0

    plugins = Plugins()
    plugins.register(offers("strange", lambda: Old))
    with pytest.raises(PluginError, match="written for contract 0, this celeriac has 1"):
        plugins.transport("strange://x")


def test_a_plugin_that_does_not_load_harms_no_other_and_is_named(monkeypatch) -> None:
    class Broken:
        name, module, dist = "broken", "broken", None

        def load(self):
            raise RuntimeError("not today")

    points = [*module.entry_points(group="celeriac"), Broken()]
    monkeypatch.setattr(module, "entry_points", lambda group: points)
    forget_installed()
    try:
        plugins = Plugins()
        assert plugins.transport("memory://x") is MemoryTransport
        with pytest.raises(ConfigurationError, match=r"broken did not load \(RuntimeError: not today\)"):
            plugins.transport("strange://x")
    finally:
        forget_installed()


def test_every_call_can_be_traced() -> None:
    code = "from celeriac.plugins import Plugins; Plugins().transports()"
    done = subprocess.run(
        [sys.executable, "-c", code], env={"CELERIAC_PLUGIN_TRACE": "1"}, capture_output=True, text=True, check=True
    )
    assert "celeriac_transports" in done.stderr


@pytest.mark.parametrize(
    ("url", "bare"),
    [
        ("memory://", True),
        ("memory:///", True),
        ("memory://?lease=3", True),
        ("memory://name", False),
        ("sqlite:///file.db", False),
        ("amqp://guest@host//", False),
    ],
)
def test_a_bare_url_names_nothing_that_could_be_shared(url: str, bare: bool) -> None:  # noqa: FBT001 - a table
    assert is_bare(url) is bare


def test_a_transport_cannot_be_made_half() -> None:
    class Half(Transport):
        pass

    with pytest.raises(TypeError, match="abstract"):
        Half(["x://"], clock=None, on_lost=None)


@pytest.fixture
def strangers(tmp_path, monkeypatch):
    """Install distributions with one plugin module each, by their source; returns the plugins of a new App."""
    monkeypatch.syspath_prepend(tmp_path)

    def install(**sources: str) -> Plugins:
        for name, source in sources.items():
            (tmp_path / f"{name}.py").write_text(source)
            info = tmp_path / f"{name}_dist-7.dist-info"
            info.mkdir()
            (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}-dist\nVersion: 7\n")
            (info / "entry_points.txt").write_text(f"[celeriac]\n{name} = {name}\n")
        forget_installed()
        return Plugins()

    yield install
    for path in tmp_path.glob("*.py"):
        sys.modules.pop(path.stem, None)
    monkeypatch.undo()
    forget_installed()


OFFER = """
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
BROKEN = {
    "ImportError": "import no_such_module_at_all",
    "SyntaxError": "def f(:",
    "SystemExit": "raise SystemExit(3)",
    "PluginValidationError": "from celeriac.hookspecs import hookimpl\n@hookimpl\ndef celeriac_transports(extra): ...",
    "ZeroDivisionError": "from celeriac.hookspecs import hookimpl\n@hookimpl\ndef celeriac_transports(): 1/0",
    "TypeError": "from celeriac.hookspecs import hookimpl\n@hookimpl\ndef celeriac_transports(): return 5",
}


@pytest.mark.parametrize("error", BROKEN)
def test_a_broken_stranger_is_told_with_its_error_and_harms_no_other(strangers, error) -> None:
    name = "ModuleNotFoundError" if error == "ImportError" else error
    plugins = strangers(broken=BROKEN[error], sound=OFFER.format(scheme="sound", body="pass"))
    assert plugins.transport("sound://x").__name__ == "Stranger"
    assert plugins.transport("memory://x") is MemoryTransport
    said = {each.name: each.error for each in plugins.installed}
    assert name in said["broken"]
    assert {each for each, why in said.items() if why is not None} == {"broken"}
    with pytest.raises(ConfigurationError, match=rf"broken did not load \(.*{name}"):
        plugins.transport("strange://x")
    with pytest.raises(ConfigurationError, match=rf"broken did not load \(.*{name}"):
        plugins.serializer("strange")


def test_a_stranger_whose_transport_raises_anything_is_told_by_its_scheme(strangers) -> None:
    plugins = strangers(odd=OFFER.format(scheme="odd", body="1 / 0"))
    with pytest.raises(PluginError, match="odd:// does not load: ZeroDivisionError"):
        plugins.transport("odd://x")


def test_a_clash_stops_that_scheme_alone(strangers) -> None:
    plugins = strangers(one=OFFER.format(scheme="same", body="pass"), other=OFFER.format(scheme="same", body="pass"))
    with pytest.raises(PluginError, match=r"two plugins claim 'same', \w+-dist:\w+ and \w+-dist:\w+;"):
        plugins.transport("same://x")
    assert plugins.transport("memory://x") is MemoryTransport


def test_the_contract_of_a_stranger_is_told(strangers) -> None:
    plugins = strangers(late=OFFER.format(scheme="late", body="contract = 99"))
    with pytest.raises(PluginError, match="written for contract 99, this celeriac has 1; upgrade") as raised:
        plugins.transport("late://x")
    assert raised.value.contract == 99


@pytest.mark.parametrize("offer", ["{5: load}", "{'odd': 6, 'fine': load}"])
def test_a_stranger_that_offers_what_is_no_scheme_is_told_and_harms_no_other(strangers, offer) -> None:
    source = OFFER.format(scheme="odd", body="pass").replace("{'odd': load}", offer)
    plugins = strangers(broken=source, sound=OFFER.format(scheme="sound", body="pass"))
    assert plugins.schemes("celeriac_transports")["sound-dist:sound"] == ["sound"]
    assert plugins.transport("sound://x").__name__ == "Stranger"
    said = {each.name: each.error for each in plugins.installed}
    assert "is no name and function" in said["broken"]
    assert {each for each, why in said.items() if why is not None} == {"broken"}


def test_a_stranger_that_is_not_finished_is_told_what_it_lacks(strangers) -> None:
    source = OFFER.format(scheme="half", body="import abc; peek = abc.abstractmethod(lambda self: None)")
    with pytest.raises(PluginError, match="half:// is not whole: Stranger has no peek"):
        strangers(half=source).transport("half://x")


def test_a_contract_that_is_no_number_is_refused(strangers) -> None:
    with pytest.raises(PluginError, match="written for contract \\['x'\\], this celeriac has 1") as raised:
        strangers(late=OFFER.format(scheme="late", body="contract = ['x']")).transport("late://x")
    assert raised.value.contract is None


def test_our_own_can_be_imported_without_the_strangers(strangers) -> None:
    strangers(bold="raise RuntimeError('imported')")
    names = [installed.name for installed, _ in module.find_installed()]
    module.import_own()
    assert "bold" in names
    assert "bold" not in sys.modules
    assert "celeriac_sqlite" in sys.modules
