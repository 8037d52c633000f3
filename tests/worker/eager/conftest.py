"""Apps that run their tasks where they are sent."""

from __future__ import annotations

import pytest

from celeriac import App


@pytest.fixture
def make():
    apps = []

    def make(**settings):
        apps.append(App("eager", **{"broker": "amqp://nowhere.invalid:1", "task_always_eager": True, **settings}))
        return apps[-1]

    yield make
    for app in apps:
        app.close()


@pytest.fixture
def app(make):
    return make()


@pytest.fixture
def add(app):
    @app.task
    def add(x, y):
        return x + y

    return add
