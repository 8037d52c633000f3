"""Settings, and the table of them in docs/reference/settings.md."""

from __future__ import annotations

import argparse
import inspect
import re
from dataclasses import fields
from pathlib import Path

import pytest

from celeriac import App
from celeriac.cli import worker
from celeriac.cli.main import add_common_arguments
from celeriac.errors import ConfigurationError, UnknownOption
from celeriac.settings import PREFIX, Settings

PAGE = (Path(__file__).parents[2] / "docs" / "reference" / "settings.md").read_text(encoding="utf-8")
HERE = {"backend": "result_backend"}  # a setting's name where its flag has Celery's


def table(head):
    """Return the rows under ``head``, each a tuple of its cells."""
    after = PAGE.split(head, 1)[1].splitlines()[2:]
    rows = []
    for line in after:
        if not line.startswith("|"):
            break
        rows.append(tuple(cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]))
    return rows


def worker_flags():
    parser = argparse.ArgumentParser(add_help=False)
    worker.add_arguments(parser)
    add_common_arguments(parser)
    return {action.dest: action for action in parser._actions}


def written(options):
    return ", ".join(f"`{option}`" for option in options) or "-"


SETTINGS = table("| App argument | environment |")


def row_of(setting, unit):
    action = worker_flags().get(HERE.get(setting.name, setting.name))
    return (
        f"`{setting.name}`",
        f"`{PREFIX}{setting.name.upper()}`",
        written(action.option_strings if action else ()),
        f"`{setting.default!r}`",
        unit,
        setting.metadata["meaning"],
    )


def test_every_setting_stands_in_the_table_once_in_order():
    missing = [
        "| " + " | ".join(row_of(each, "?")) + " |"
        for each in fields(Settings)
        if f"`{each.name}`" not in {row[0] for row in SETTINGS}
    ]
    assert not missing, "docs/reference/settings.md wants:\n" + "\n".join(missing)
    assert [row[0] for row in SETTINGS] == [f"`{each.name}`" for each in fields(Settings)]


@pytest.mark.parametrize("row", SETTINGS, ids=[row[0].strip("`") for row in SETTINGS])
def test_a_row_says_what_the_code_says(row):
    setting = next(each for each in fields(Settings) if f"`{each.name}`" == row[0])
    unit = row[4]
    assert row == row_of(setting, unit)
    assert (unit == "seconds") == row[5].startswith("Seconds ")
    assert unit == "seconds" or not isinstance(setting.default, float)


@pytest.mark.parametrize("setting", fields(Settings), ids=lambda each: each.name)
def test_a_flag_leaves_a_setting_alone_where_it_is_not_given(setting):
    action = worker_flags().get(HERE.get(setting.name, setting.name))
    assert action is None or action.default is None


def test_every_other_flag_of_the_worker_stands_in_its_table():
    settings = {HERE.get(each.name, each.name) for each in fields(Settings)}
    others = {written(action.option_strings): action for dest, action in worker_flags().items() if dest not in settings}
    rows = {flag: default for flag, default, _ in table("| flag | default |")}
    assert rows.keys() == others.keys()
    for flag, default in rows.items():
        assert default == ("-" if others[flag].default is None else f"`{others[flag].default}`")


def test_every_other_argument_of_the_app_stands_in_its_table():
    given = inspect.signature(App.__init__).parameters.values()
    others = {
        f"`{each.name}`": f"`{each.default!r}`"
        for each in given
        if each.kind in {each.POSITIONAL_OR_KEYWORD, each.KEYWORD_ONLY}
        and each.name not in {"self", "broker", "backend"}
    }
    assert {name: default for name, default, _ in table("| App argument | default |")} == others


def test_argument_before_environment_before_default():
    assert Settings.resolve({}, {}).grace == 30.0
    assert Settings.resolve({}, {"CELERIAC_GRACE": "5"}).grace == 5.0
    assert Settings.resolve({"grace": 7}, {"CELERIAC_GRACE": "5"}).grace == 7.0
    assert Settings.resolve({"grace": None}, {"CELERIAC_GRACE": "5"}).grace == 5.0
    assert Settings.resolve({"grace": 0}, {"CELERIAC_GRACE": "5"}).grace == 0.0


def test_the_apps_environment(monkeypatch):
    monkeypatch.setenv("CELERIAC_BROKER", "memory://a;memory://b")
    monkeypatch.setenv("CELERIAC_DEFAULT_QUEUE", "mail")
    app = App()
    assert app.conf.broker == ("memory://a", "memory://b")
    assert app.default_queue.name == "mail"
    assert App(broker="memory://c").conf.broker == ("memory://c",)
    assert App(broker=["memory://c", "memory://d"]).conf.broker == ("memory://c", "memory://d")


def test_a_url_may_name_several_hosts() -> None:
    urls = ("cluster+tls://u:p@a:1;b:2/name", "cluster://c;d/name?x=1")
    assert App(broker=";".join(urls)).conf.broker == urls
    assert App(broker=f";{urls[0]};;{urls[1]};").conf.broker == urls


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("grace", "soon", "grace='soon': use a number"),
        ("time_limit", "soon", "use a number"),
        ("grace", -1, "0 or more"),
        ("grace", float("inf"), "0 or more"),
        ("grace", float("nan"), "0 or more"),
        ("concurrency", 0, "1 or more"),
        ("concurrency", "many", "concurrency='many': use a whole number"),
        ("concurrency", 1.5, "use a whole number"),
        ("max_tasks_per_child", "many", "use a whole number"),
        ("max_tasks_per_child", -1, "0 \\(no limit\\)"),
        ("acks_late", "perhaps", "true or false"),
        ("pool", "threads", "did you mean 'thread'"),
        ("declare", "activ", "did you mean 'active'"),
        ("fleet", "rq", "celery"),
        ("broker", "", "it is empty"),
        ("backend", ";", "it is empty"),
    ],
)
def test_a_value_that_cannot_work_names_itself(name, value, words):
    with pytest.raises(ConfigurationError, match=words):
        Settings.resolve({name: value}, {})
    with pytest.raises(ConfigurationError, match=f"CELERIAC_{name.upper()}="):
        Settings.resolve({}, {f"CELERIAC_{name.upper()}": str(value)})


def test_an_unknown_name_is_refused_and_an_unknown_variable_is_told_once(caplog):
    with pytest.raises(UnknownOption, match="did you mean 'grace'"):
        Settings.resolve({"grase": 1}, {})
    environ = {
        "CELERIAC_GRASE_ONCE": "1",
        "CELERIAC_TEST_X": "1",
        "CELERIAC_REQUIRE_X": "1",
        "CELERIAC_PLUGIN_TRACE": "1",
    }
    Settings.resolve({}, environ)
    Settings.resolve({}, environ)
    assert [record.getMessage().partition(" is")[0] for record in caplog.records] == [
        "environment variable CELERIAC_GRASE_ONCE"
    ]


def test_no_password_in_an_error():
    with pytest.raises(ConfigurationError) as caught:
        Settings.resolve({"grace": "amqp://me:hush@host"}, {})
    assert "hush" not in str(caught.value)


def test_words_of_the_environment_are_flags():
    for text, value in {"1": True, "Yes": True, "ON": True, "0": False, "no": False, "FALSE": False}.items():
        assert Settings.resolve({}, {"CELERIAC_ACKS_LATE": text}).acks_late is value
