"""Every setting of an App, typed: where each may be set, its default and its meaning stand here, once.

Precedence: argument of `App`, then the environment (``CELERIAC_`` and the name in capitals), then the default. The
table in ``docs/settings.md`` is checked against this file.
"""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

from celeriac.errors import ConfigurationError, UnknownOption, did_you_mean
from celeriac.transport_helpers import masked

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

logger = logging.getLogger("celeriac")

PREFIX = "CELERIAC_"
NOT_SETTINGS = ("CELERIAC_TEST_", "CELERIAC_REQUIRE_", "CELERIAC_PLUGIN_TRACE", "CELERIAC_RUNTIME_DIR")
FLEETS = ("celery",)
PUBLISH_CONFIRMS = ("wait", "deferred")


def _urls(value: Any) -> tuple[str, ...]:
    if isinstance(value, str):
        return tuple(part for part in value.split(";") if part)
    return tuple(value)


def _flag(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    words = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}
    try:
        return words[str(value).lower()]
    except KeyError:
        raise ValueError("use true or false") from None


def _count(value: Any) -> int:
    number = int(value)
    if number < 1:
        raise ValueError("use 1 or more")
    return number


def _limit(value: Any) -> int:
    number = int(value)
    if number < 0:
        raise ValueError("use 0 (no limit) or more")
    return number


def _seconds(value: Any) -> float:
    number = float(value)
    if not 0 <= number < float("inf"):
        raise ValueError("use seconds, 0 or more")
    return number


def _time_limit(value: Any) -> float:
    number = float(value)
    if not 0 < number < float("inf"):
        raise ValueError("use seconds, more than 0; without a limit leave it out")
    return number


def _one_of(*choices: str) -> Callable[[Any], str]:
    def choose(value: Any) -> str:
        if value not in choices:
            raise ValueError(f"use one of {', '.join(choices)}{did_you_mean(str(value), choices)}")
        return str(value)

    return choose


def _setting(default: Any, read: Callable[[Any], Any], meaning: str) -> Any:
    return field(default=default, metadata={"read": read, "meaning": meaning})


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The settings of one App."""

    broker: tuple[str, ...] = _setting(
        (), _urls, "Addresses of one broker cluster, tried in order (a list, or `;` between). None: a SQLite file."
    )
    backend: tuple[str, ...] = _setting((), _urls, "Where results are kept. None: the broker's own result store.")
    fleet: str | None = _setting(None, _one_of(*FLEETS), "`celery`: share queues with Celery workers and clients.")
    default_queue: str | None = _setting(None, str, "Where a task goes that has no route. None: `celeriac`.")
    declare: str = _setting(
        "active",
        _one_of("active", "passive", "never"),
        "`active` declares queues and exchanges, `passive` only checks them, `never` asks the broker nothing.",
    )
    publish_timeout: float = _setting(
        5.0, _seconds, "Seconds in which a call returns, its message confirmed by the broker, or raises."
    )
    publish_confirm: str = _setting(
        "wait",
        _one_of(*PUBLISH_CONFIRMS),
        "`wait`: a call returns when its message is confirmed. `deferred`: at once; a failure is raised later, see "
        "`App.flush`.",
    )
    max_message_bytes: int = _setting(8 * 1024 * 1024, _count, "Largest message body, in bytes.")
    result_expires: float = _setting(86_400.0, _seconds, "Seconds after which a stored result is forgotten.")
    ignore_result: bool = _setting(False, _flag, "Store no results, except where a task or call says otherwise.")
    acks_late: bool = _setting(
        True, _flag, "Acknowledge after the result is stored (at least once). False: when an executor takes the task."
    )
    track_started: bool = _setting(False, _flag, "Store the state `STARTED` when a task begins.")
    time_limit: float | None = _setting(
        None, _time_limit, "Seconds after which a task is ended, for those that do not say. None: no limit."
    )
    soft_time_limit: float | None = _setting(
        None, _time_limit, "Seconds after which `SoftTimeLimitExceeded` is raised in a task. None: no limit."
    )
    soft_limits_only: bool = _setting(
        False, _flag, "Take tasks with a `time_limit` also into a pool that cannot enforce it: of threads, or solo."
    )
    revoke_expires: float = _setting(
        2_592_000.0, _seconds, "Seconds for which a revocation holds: more than the longest delay of a task."
    )
    concurrency: int | None = _setting(None, _count, "Executors of a worker. None: the processors it may use.")
    pool: str = _setting("process", _one_of("process", "thread", "solo"), "What the executors are.")
    threads: int = _setting(1, _count, "`def` tasks that one executor process runs at a time.")
    coroutines: int = _setting(100, _count, "`async def` tasks that one executor runs at a time.")
    max_tasks_per_child: int = _setting(0, _limit, "Tasks after which an executor process is replaced. 0: never.")
    max_memory_per_child: int = _setting(
        0, _limit, "KiB of resident memory above which an executor process is replaced once idle. 0: never."
    )
    stall_timeout: float | None = _setting(
        None, _time_limit, "Seconds after which an executor process that has work and is silent is killed. None: never."
    )
    preload: bool = _setting(False, _flag, "Import the app once, in the fork server, instead of in each executor.")
    grace: float = _setting(30.0, _seconds, "Seconds that running tasks have to finish when a worker is stopped.")
    max_deliveries: int = _setting(3, _count, "Runs after which a task that kills its executor is a dead letter.")
    max_lost: int = _setting(20, _count, "Losses of a whole worker after which a task is a dead letter.")
    unknown_task_delay: float = _setting(
        10.0, _seconds, "Seconds after which a task that no worker knew is offered again."
    )
    unknown_task_deadline: float = _setting(3600.0, _seconds, "Seconds after which such a task is a dead letter.")

    def __post_init__(self) -> None:
        """Refuse a soft time limit beyond the hard one."""
        if self.time_limit is not None and self.soft_time_limit is not None and self.soft_time_limit > self.time_limit:
            raise ConfigurationError(
                f"soft_time_limit={self.soft_time_limit:g} is beyond time_limit={self.time_limit:g}; "
                "the soft one comes first"
            )

    @classmethod
    def resolve(cls, arguments: Mapping[str, Any], environ: Mapping[str, str] | None = None) -> Settings:
        """Return the settings that ``arguments`` and the environment give.

        Raises:
            UnknownOption: an argument of an unknown name.
            ConfigurationError: a value that does not fit.
        """
        known = {each.name: each for each in fields(cls)}
        for name in arguments:
            if name not in known:
                raise UnknownOption("setting", name, known)
        environ = os.environ if environ is None else environ
        _tell_unknown_variables(environ, known)
        values: dict[str, Any] = {}
        for name, setting in known.items():
            variable = PREFIX + name.upper()
            if arguments.get(name) is not None:
                values[name] = _read(name, arguments[name], setting.metadata["read"])
            elif variable in environ:
                values[name] = _read(variable, environ[variable], setting.metadata["read"])
        return cls(**values)


def _read(name: str, value: Any, read: Callable[[Any], Any]) -> Any:
    try:
        return read(value)
    except (TypeError, ValueError) as error:
        raise ConfigurationError(f"{name}={masked(str(value))!r}: {masked(str(error))}") from None


_told: set[str] = set()


def _tell_unknown_variables(environ: Mapping[str, str], known: Mapping[str, Any]) -> None:
    variables = {PREFIX + name.upper() for name in known}
    for name in environ:
        if (
            name.startswith(PREFIX)
            and name not in variables
            and not name.startswith(NOT_SETTINGS)
            and name not in _told
        ):
            _told.add(name)
            logger.warning("environment variable %s is no setting%s", name, did_you_mean(name, variables))
