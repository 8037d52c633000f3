"""Where settings come from: the order of the places, and what each refuses."""

from __future__ import annotations

import subprocess
import sys
from argparse import Namespace
from pathlib import Path
from types import SimpleNamespace

import pytest

from celeriac import App
from celeriac.cli.apps import app_of_nobody
from celeriac.configuration import DEFAULT, PROGRAM, Configuration, object_layer, project_layer
from celeriac.errors import ConfigurationError, UnknownOption
from celeriac.settings import Settings

CONFIG = """
from __future__ import annotations
import os
from pathlib import Path
from typing import TYPE_CHECKING

_helper = 3
grace = 4.0
broker = "memory://config"

def helper(): ...

class Production:
    grace = 9
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder that modules are imported from, and whose modules are forgotten again."""
    monkeypatch.syspath_prepend(tmp_path)
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        del sys.modules[name]


def app_in(folder, **arguments):
    app = App(broker="memory://", **arguments)
    app.configuration.folder = folder
    return app


def project(folder, text):
    (folder / "pyproject.toml").write_text(text)


def test_the_places_in_their_order(folder, monkeypatch):
    """Each that is added goes before those that are there."""
    app, seen = app_in(folder), []

    def look(app):
        seen.append((app.conf.grace, app.configuration.origins(app.conf)["grace"]))

    look(app)
    project(folder, "[tool.celeriac]\ngrace = 4\n")
    look(app_in(folder))
    app = app_in(folder)
    app.config_from_object({"grace": 3})
    look(app)
    monkeypatch.setenv("CELERIAC_GRACE", "2")
    app = app_in(folder)
    app.config_from_object({"grace": 3})
    look(app)
    app = app_in(folder, grace=1)
    app.config_from_object({"grace": 3})
    look(app)
    assert seen == [
        (30.0, DEFAULT),
        (4.0, f"[tool.celeriac] in {folder}/pyproject.toml"),
        (3.0, "config object (a mapping)"),
        (2.0, "environment CELERIAC_GRACE"),
        (1.0, "argument of App"),
    ]


def test_what_nobody_says_is_the_default_and_what_the_command_says_is_told(folder):
    app = app_in(folder)
    assert app.configuration.origins(app.conf)["grace"] == DEFAULT
    other = Settings.resolve({"broker": "memory://", "grace": 3}, {})
    assert app.configuration.origins(other)["grace"] == PROGRAM


def test_constructing_an_app_reads_nothing_and_its_first_use_does(folder):
    project(folder, "[tool.celeriac")
    app = app_in(folder)
    app.config_from_object("no.such.module")
    app.task(name="t")(lambda: None)
    with pytest.raises(ConfigurationError, match="no module 'no'"):
        _ = app.conf
    app.config_from_object({})
    with pytest.raises(ConfigurationError, match=r"pyproject\.toml is no TOML"):
        app.send_task("t")
    project(folder, "[tool.celeriac]\ndefault_queue = 'mail'")
    assert app.default_queue.name == "mail"
    assert app.router.route("t").queue == "mail"


def test_the_default_queue_follows_the_config_object(folder):
    app = app_in(folder)
    assert app.default_queue.name == "celeriac"
    app.config_from_object({"default_queue": "mail"})
    assert [queue.name for queue in app.queues] == ["mail"]
    assert app.router.route("t").queue == "mail"


def test_an_app_in_use_takes_no_config_object(folder):
    app = app_in(folder)
    try:
        _ = app.client
        with pytest.raises(ConfigurationError, match="in use already"):
            app.config_from_object({"grace": 1})
    finally:
        app.close()


@pytest.mark.parametrize("source", ["shop_config", "module", "shop_config:Production", "object", "mapping"])
def test_what_a_config_object_may_be(source, folder):
    (folder / "shop_config.py").write_text(CONFIG)
    if source == "module":
        import shop_config

        source = shop_config
    source = {"object": SimpleNamespace(grace=4.0), "mapping": {"grace": 4.0}}.get(source, source)
    grace = Settings.of([object_layer(source)]).grace
    assert grace == (9.0 if source == "shop_config:Production" else 4.0)


def test_a_namespace_leaves_the_rest_to_others():
    theirs = SimpleNamespace(CELERIAC_GRACE=4, CELERIAC_BROKER="memory://", DATABASES={}, grace="not ours")
    settings = Settings.of([object_layer(theirs, "celeriac")])
    assert (settings.grace, settings.broker) == (4.0, ("memory://",))
    with pytest.raises(UnknownOption, match="did you mean 'grace'"):
        Settings.of([object_layer({"CELERIAC_GRASE": 4}, "celeriac")])


class Broken:
    @property
    def grace(self):
        raise RuntimeError("amqp://me:hush@host said no")


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ({"grase": 1}, "config object .* 'grase'; did you mean 'grace'"),
        ({"grace": "soon"}, "config object .*: grace='soon'"),
        ({"broker_url": "x"}, "did you mean 'broker'"),
        ({"routes": {}}, r"App\(routes=...\)"),
        ({5: 1}, "'5'"),
        (SimpleNamespace(grase=1), "SimpleNamespace 'grase'"),
        (Broken(), "Broken cannot be read: RuntimeError"),
        ("nowhere_at_all", "no module 'nowhere_at_all'"),
        ("bad_config", "cannot be imported: SyntaxError"),
        ("needy_config", "cannot be imported: ModuleNotFoundError: No module named 'nowhere_at_all'"),
        ("leaving_config", "cannot be imported: SystemExit"),
        ("good_config:Productoin", "did you mean 'Production'"),
    ],
)
def test_a_config_object_that_cannot_be_used(source, words, folder):
    (folder / "bad_config.py").write_text("grace = = 1")
    (folder / "needy_config.py").write_text("import nowhere_at_all")
    (folder / "leaving_config.py").write_text("raise SystemExit(1)")
    (folder / "good_config.py").write_text(CONFIG)
    app = app_in(folder)
    app.config_from_object(source)
    with pytest.raises(ConfigurationError, match=words) as caught:
        _ = app.conf
    assert "hush" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_nearest_pyproject_above_is_the_one(folder):
    deep = folder / "src" / "shop"
    deep.mkdir(parents=True)
    project(folder, "[tool.celeriac]\ngrace = 4\n")
    assert project_layer(deep).values == {"grace": 4}
    project(folder / "src", "[project]\nname = 'x'\n")
    assert project_layer(deep) is None
    project(folder / "src", "[tool.celeriac]\ngrace = 5\n")
    assert project_layer(deep).values == {"grace": 5}
    project(folder / "src", "[tool.celeriac]\ngrace = 66\n")  # it is read again once it has changed
    assert project_layer(deep).values == {"grace": 66}


def test_a_pyproject_that_is_not_about_us_may_be_as_broken_as_it_likes(folder):
    project(folder, "<<<<<<< HEAD")
    assert project_layer(folder) is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[tool.celeriac]\ngrace = = 3", r"pyproject\.toml is no TOML: .*line 2"),
        ("[tool]\nceleriac = 3", r"write \[tool\.celeriac\]"),
        (
            "[tool.celeriac]\ngrase = 3",
            r"\[tool\.celeriac\] in .*pyproject\.toml 'grase'; did you mean 'grace'",
        ),
        ("[tool.celeriac]\ngrace = 'soon'", r"pyproject\.toml: grace='soon'"),
        ("[tool.celeriac]\nbroker = 5", r"pyproject\.toml: broker='5': use a URL, or a list of URLs"),
        ("[tool.celeriac]\nbroker = ['memory://', 5]", "use a URL, or a list of URLs"),
        ("[tool.celeriac]\npool = ['process']", "pool="),
        ("[tool.celeriac]\nacks_late = 'perhaps'", "true or false"),
    ],
)
def test_a_pyproject_that_cannot_be_used(text, words, folder):
    project(folder, text)
    app = app_in(folder)
    app.configuration._arguments.values.pop("broker")
    with pytest.raises(ConfigurationError, match=words) as caught:
        _ = app.conf
    assert "\n" not in str(caught.value)


def test_a_pyproject_that_cannot_be_read(folder):
    (folder / "pyproject.toml").mkdir()
    with pytest.raises(ConfigurationError, match=r"pyproject\.toml cannot be read: Is a directory"):
        project_layer(folder)
    (folder / "pyproject.toml").rmdir()
    (folder / "pyproject.toml").write_bytes(b"# celeriac tool \xff")
    with pytest.raises(ConfigurationError, match="is no TOML"):
        project_layer(folder)


def test_without_a_file_the_working_directory_counts(folder):
    project(folder, "[tool.celeriac]\ngrace = 5\n")
    code = "from celeriac import App; print(App().conf.grace)"
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=True)
    assert done.stdout == "5.0\n"


def test_an_app_of_ours_belongs_to_no_project():
    from celeriac.cli.demo_app import app

    assert app.configuration.folder is None
    assert app_of_nobody(Namespace(broker=None, result_backend=None)).configuration.folder == Path()


def test_two_apps_of_one_process_have_settings_of_their_own(folder):
    project(folder, "[tool.celeriac]\ngrace = 5\n")
    assert app_in(folder).conf.grace == 5.0
    assert app_in(None).conf.grace == 30.0
    assert Configuration({}, {"__file__": str(folder / "x.py")}).settings().grace == 5.0


def test_no_secret_is_shown():
    settings = Settings.resolve({"broker": ["amqp://me:hush@host/", "amqp://me:hush@other/?password=hush"]}, {})
    assert "hush" not in repr(settings)
    assert settings.shown("broker") == ("amqp://me:**@host/", "amqp://me:**@other/?password=**")
    assert "hush" not in repr(App(broker="amqp://me:hush@host/").conf)
