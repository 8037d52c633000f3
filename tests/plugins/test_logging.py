"""celeriac_logging: log records as JSON."""

from __future__ import annotations

import io
import json
import logging

import pytest

from celeriac import App, Request
from celeriac.request import running
from celeriac_logging import JsonLogging
from celeriac_logging.records import JsonFormatter, TaskFields

REQUEST = Request(id="the-id", task="shop.add", attempt=3, queue="mail")


@pytest.fixture
def logger():
    logger = logging.Logger("project", logging.DEBUG)  # noqa: LOG001 - one of nobody else
    logger.stream = io.StringIO()
    handler = logging.StreamHandler(logger.stream)
    handler.addFilter(TaskFields())
    handler.setFormatter(JsonFormatter())
    logger.addHandler(handler)
    return logger


def lines(logger):
    return [json.loads(line) for line in logger.stream.getvalue().splitlines()]


def test_a_record_of_a_task(logger):
    with running(REQUEST):
        logger.info("adding %d", 4, extra={"customer": "c1"})
    logger.info("outside")
    inside, outside = lines(logger)
    assert list(inside)[:8] == ["time", "level", "logger", "message", "task_id", "task", "attempt", "queue"]
    assert (inside["task_id"], inside["task"], inside["attempt"], inside["queue"]) == ("the-id", "shop.add", 3, "mail")
    assert (inside["message"], inside["level"], inside["customer"]) == ("adding 4", "INFO", "c1")
    assert inside["time"].endswith("+00:00")
    assert outside.keys() == {"time", "level", "logger", "message", "process"}


def test_a_record_about_a_task(logger):
    """As the worker writes of its events; the executor's own stamp is not repeated."""
    event = {"event": "finished", "task_id": "x", "task": "t", "attempt": 2, "queue": "q", "seconds": 0.5}
    logger.info("Task t[x] succeeded", extra={"event": event, "task_id": "-", "task_name": "-"})
    (line,) = lines(logger)
    assert {**line, **event} == line
    assert "task_name" not in line


def test_a_traceback_and_values_that_json_does_not_know(logger):
    with running(REQUEST):
        try:
            int("two\nlines")
        except ValueError:
            logger.exception("failed", extra={"where": {1, 2}, "level": "mine", "message_": object()})
    (line,) = lines(logger)
    assert "ValueError: invalid literal" in line["traceback"]
    assert line["where"] == "{1, 2}"
    assert line["level"] == "ERROR"


def test_only_the_command_s_own_handler_is_changed():
    app = App("x", broker="memory://")
    app.plugins.register(JsonLogging())
    root, theirs, ours = logging.getLogger(), logging.NullHandler(), logging.NullHandler()
    ours.set_name("celeriac")
    for handler in (theirs, ours):
        root.addHandler(handler)
    try:
        app.hooks.tell("celeriac_setup_logging", app=app)
    finally:
        for handler in (theirs, ours):
            root.removeHandler(handler)
    assert theirs.formatter is None
    assert isinstance(ours.formatter, JsonFormatter)
