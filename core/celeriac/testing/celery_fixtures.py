"""Celery's fixtures, where they mean the same: ``pytest_plugins = ["celeriac.testing.celery_fixtures"]``.

They are apart from `celeriac.testing.plugin`, so that a test run may still use Celery's own. Source of names and
meanings: ``celery.contrib.pytest`` of Celery 5.7. What differs:

- The broker and the result store are a sandbox in the process: ``broker_url`` and ``result_backend`` are not heeded.
- Other settings go by celeriac's names or by those Celery names that mean the same; an unknown one is refused.
- A worker runs tasks in a thread. ``solo``, Celery's default, means the same; there are no processes in a sandbox.
- ``celery_worker_parameters`` are options of `App.run_worker`; how long Celery waits for its worker is not heeded.
- Not there, because celeriac has no current App, no class tasks and leaves logging alone: ``celery_class_tasks``,
  ``celery_enable_logging``, ``depends_on_current_app``, ``use_celery_app_trap``.
"""

from __future__ import annotations

from contextlib import contextmanager
from importlib import import_module
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from celeriac.app import App
    from celeriac.testing.sandbox import Sandbox, SandboxWorker

NOT_HEEDED = frozenset({"broker_url", "result_backend"})
SAME = {
    "task_default_queue": "default_queue",
    "task_acks_late": "acks_late",
    "task_ignore_result": "ignore_result",
    "task_track_started": "track_started",
    "task_time_limit": "time_limit",
    "task_soft_time_limit": "soft_time_limit",
}
POOLS = {"solo": "thread", "threads": "thread"}
ABOUT_WAITING = frozenset({"perform_ping_check", "ping_task_timeout", "shutdown_timeout", "loglevel", "logfile"})


def pytest_configure(config: pytest.Config) -> None:
    """Declare the marker."""
    config.addinivalue_line("markers", "celery(**overrides): settings of the celery_app, for one test")


@pytest.fixture(scope="session")
def celery_config() -> Mapping[str, Any]:
    """Return settings of the App; none, unless you redefine this."""
    return {}


@pytest.fixture(scope="session")
def celery_parameters() -> Mapping[str, Any]:
    """Return arguments of the App besides its settings, say ``queues``; none, unless you redefine this."""
    return {}


@pytest.fixture(scope="session")
def celery_includes() -> Sequence[str]:
    """Return names of modules to be imported before a worker starts; none, unless you redefine this."""
    return ()


@pytest.fixture(scope="session")
def celery_worker_pool() -> str:
    """Return the pool of the worker: ``solo``, unless you redefine this."""
    return "solo"


@pytest.fixture(scope="session")
def celery_worker_parameters() -> Mapping[str, Any]:
    """Return options of the worker, say ``queues``; none, unless you redefine this."""
    return {}


@pytest.fixture(scope="session")
def celery_session_app(
    request: pytest.FixtureRequest, celery_config: Mapping[str, Any], celery_parameters: Mapping[str, Any]
) -> Iterator[App]:
    """Return an App for the whole session."""
    with _sandbox(request, celery_config, celery_parameters) as box:
        yield box.app


@pytest.fixture(scope="session")
def celery_session_worker(
    celery_session_app: App,
    celery_includes: Sequence[str],
    celery_worker_pool: str,
    celery_worker_parameters: Mapping[str, Any],
) -> Iterator[SandboxWorker]:
    """Run a worker for the whole session."""
    with _worker(celery_session_app, celery_includes, celery_worker_pool, celery_worker_parameters) as worker:
        yield worker


@pytest.fixture
def celery_app(
    request: pytest.FixtureRequest, celery_config: Mapping[str, Any], celery_parameters: Mapping[str, Any]
) -> Iterator[App]:
    """Return a new App; ``@pytest.mark.celery(task_always_eager=True)`` changes its settings."""
    with _sandbox(request, celery_config, celery_parameters) as box:
        yield box.app


@pytest.fixture
def celery_worker(
    celery_app: App,
    celery_includes: Sequence[str],
    celery_worker_pool: str,
    celery_worker_parameters: Mapping[str, Any],
) -> Iterator[SandboxWorker]:
    """Run a worker while the test runs."""
    with _worker(celery_app, celery_includes, celery_worker_pool, celery_worker_parameters) as worker:
        yield worker


@contextmanager
def _sandbox(
    request: pytest.FixtureRequest, config: Mapping[str, Any], parameters: Mapping[str, Any]
) -> Iterator[Sandbox]:
    from celeriac.app import App  # noqa: PLC0415 - imported when it is used
    from celeriac.testing.sandbox import Sandbox  # noqa: PLC0415

    mark = request.node.get_closest_marker("celery")
    given = {**config, **(mark.kwargs if mark else {})}
    settings = {SAME.get(name, name): value for name, value in given.items() if name not in NOT_HEEDED}
    with Sandbox(App(**{"main": "celery.tests", **parameters, **settings})) as box:
        yield box


@contextmanager
def _worker(app: App, includes: Sequence[str], pool: str, parameters: Mapping[str, Any]) -> Iterator[SandboxWorker]:
    from celeriac.testing.sandbox import sandbox_of  # noqa: PLC0415 - imported when it is used

    for module in includes:
        import_module(module)
    options = {name: value for name, value in parameters.items() if name not in ABOUT_WAITING}
    with sandbox_of(app).worker(pool=POOLS.get(pool, pool), **options) as worker:
        yield worker
