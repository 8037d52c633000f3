"""From the pool's name to the pool."""

from __future__ import annotations

import pytest

from celeriac.app import App
from celeriac.errors import ConfigurationError
from celeriac.worker.executors.choose import choose_pool
from celeriac.worker.executors.process import ProcessPool
from celeriac.worker.executors.solo import SoloPool
from celeriac.worker.executors.thread import ThreadPool
from celeriac.worker.options import WorkerOptions

here = App("choose", broker="memory://choose")


def choose(app, **options):
    return choose_pool(app, WorkerOptions.of(app, {"concurrency": 1, **options}), None)


@pytest.mark.parametrize(("name", "kind"), [("process", ProcessPool), ("thread", ThreadPool), ("solo", SoloPool)])
def test_pools_by_name(name, kind):
    assert type(choose(here, pool=name)) is kind


def test_an_unknown_pool():
    with pytest.raises(ConfigurationError, match="process"):
        choose(here, pool="proces")


def test_an_app_that_no_process_could_find():
    names = {"__name__": "__main__"}
    exec("from celeriac.app import App\napp = App('repl', broker='memory://repl')", names)  # noqa: S102 - as a REPL does
    with pytest.raises(ConfigurationError, match="--pool thread"):
        choose(names["app"], pool="process")
