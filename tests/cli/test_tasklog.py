"""Which event is logged how, and that nothing else is asked for."""

from datetime import UTC, datetime

import pytest

from celeriac.cli import tasklog
from celeriac.events import Finished, Received, Refused, Settled, Started, Unsuccessful
from celeriac.worker.observers import Observers

KINDS = (Received, Refused, Started, Finished, Unsuccessful, Settled)
ABOUT = {"task_id": "17", "task": "mail.send", "queue": "mail", "at": datetime(2026, 1, 1, tzinfo=UTC)}


def unsuccessful(why, seconds=None, traceback=None):
    return Unsuccessful(**ABOUT, why=why, shown="boom", seconds=seconds, traceback=traceback)


@pytest.mark.parametrize(
    ("level", "wanted"),
    [
        ("DEBUG", {Received, Refused, Finished, Unsuccessful}),
        ("INFO", {Received, Refused, Finished, Unsuccessful}),
        ("WARNING", {Refused, Unsuccessful}),
        ("ERROR", {Unsuccessful}),
        ("CRITICAL", set()),
    ],
)
def test_only_what_is_logged_is_asked_for(level, wanted, caplog):
    observers = Observers()
    with caplog.at_level(level, "celeriac.task"):
        tasklog.observe(observers)
    assert {kind for kind in KINDS if observers.want(kind)} == wanted


@pytest.mark.parametrize(
    ("event", "level", "text"),
    [
        (Received(**ABOUT, attempt=1, redelivered=False), "INFO", "received"),
        (Received(**ABOUT, attempt=3, redelivered=False), "INFO", "received (attempt 3)"),
        (Refused(**ABOUT, why="expired", detail="too late"), "WARNING", "refused, expired: too late"),
        (Refused(**ABOUT, why="early", detail="until then"), "INFO", "refused, early: until then"),
        (
            Finished(**ABOUT, why="succeeded", shown="8", seconds=0.0123456, traceback=None),
            "INFO",
            "succeeded in 0.0123s: 8",
        ),
        (
            unsuccessful("failed", 2.0, "Traceback\nValueError: boom\n"),
            "ERROR",
            "failed in 2s: boom\nTraceback\nValueError: boom",
        ),
        (unsuccessful("crashed"), "ERROR", "crashed: boom"),
        (unsuccessful("undecodable"), "ERROR", "undecodable: boom"),
        (unsuccessful("retry"), "WARNING", "retry: boom"),
        (unsuccessful("accused"), "WARNING", "accused: boom"),
        (unsuccessful("interrupted"), "INFO", "interrupted: boom"),
        (unsuccessful("given back"), "INFO", "given back: boom"),
    ],
)
def test_a_line(event, level, text, caplog):
    with caplog.at_level("DEBUG", "celeriac.task"):
        tasklog.TaskLog()(event)
    (record,) = caplog.records
    assert (record.levelname, record.getMessage()) == (level, f"Task mail.send[17] {text}")
    assert record.event["task_id"] == "17"
    assert record.event["event"] == type(event).__name__.lower()


def test_percent_signs_are_only_text(caplog):
    with caplog.at_level("DEBUG", "celeriac.task"):
        tasklog.TaskLog()(unsuccessful("100 %s"))
    assert "100 %s: boom" in caplog.text


def test_what_another_worker_may_know_is_told_once_a_name_and_a_dead_letter_always(caplog):
    log = tasklog.TaskLog()
    events = [Refused(**{**ABOUT, "task": task}, why="not known here", detail="?") for task in ("a", "a", "b", "a")]
    with caplog.at_level("WARNING", "celeriac.task"):
        for event in (*events, unsuccessful("not known here"), Refused(**ABOUT, why="unknown", detail="?")):
            log(event)
    assert [record.event["task"] for record in caplog.records] == ["a", "b", "mail.send", "mail.send"]
