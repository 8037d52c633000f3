"""Every setting of an App, typed: its name, its default and its meaning stand here, once.

Where the values come from, and which goes before which, stands in `celeriac.configuration`. The table in
``docs/reference/settings.md`` is checked against this file.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

from celeriac.errors import ConfigurationError, UnknownOption, did_you_mean
from celeriac.protocol import compression_type

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from celeriac.signing import Secret

PREFIX = "CELERIAC_"
NOT_SETTINGS = (
    "CELERIAC_TEST_",
    "CELERIAC_REQUIRE_",
    "CELERIAC_PLUGIN_TRACE",
    "CELERIAC_RELOADER",
    "CELERIAC_RUNTIME_DIR",
)
FLEETS = ("celery",)
HIDDEN = "**"
_SECRET = re.compile(r"(?:^|_)(?:keys?|secrets?|tokens?|passwords?)(?:_|$)")
PUBLISH_CONFIRMS = ("wait", "deferred")
_BETWEEN = re.compile(r";(?=$|;|[\w+.-]+://)")  # a URL may name several hosts with ';' between them


def _urls(value: Any) -> tuple[str, ...]:
    if isinstance(value, str):
        urls = tuple(part for part in _BETWEEN.split(value) if part)
        if not urls:
            raise ValueError("use a URL; it is empty")  # a variable that was not set, say, in a unit or a manifest
        return urls
    if not isinstance(value, list | tuple) or not all(isinstance(part, str) for part in value):
        raise ValueError("use a URL, or a list of URLs")
    return tuple(value)


def _flag(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    words = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}
    try:
        return words[str(value).lower()]
    except KeyError:
        raise ValueError("use true or false") from None


def _whole(value: Any) -> int:
    try:
        number = int(value)
    except (TypeError, ValueError):
        raise ValueError("use a whole number") from None
    if isinstance(value, float) and value != number:
        raise ValueError("use a whole number")
    return number


def _number(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        raise ValueError("use a number") from None


def _count(value: Any) -> int:
    number = _whole(value)
    if number < 1:
        raise ValueError("use 1 or more")
    return number


def _limit(value: Any) -> int:
    number = _whole(value)
    if number < 0:
        raise ValueError("use 0 (no limit) or more")
    return number


def _seconds(value: Any) -> float:
    number = _number(value)
    if not 0 <= number < float("inf"):
        raise ValueError("use seconds, 0 or more")
    return number


def _bound(value: Any) -> float:
    number = _number(value)
    if not 0 < number < float("inf"):
        raise ValueError("use seconds, more than 0")
    return number


def _time_limit(value: Any) -> float:
    number = _number(value)
    if not 0 < number < float("inf"):
        raise ValueError("use seconds, more than 0; without a limit leave it out")
    return number


def _one_of(*choices: str) -> Callable[[Any], str]:
    def choose(value: Any) -> str:
        if value not in choices:
            raise ValueError(f"use one of {', '.join(choices)}{did_you_mean(str(value), choices)}")
        return str(value)

    return choose


def _words(value: Any) -> tuple[str, ...]:
    words = tuple(part.strip() for part in value.split(",")) if isinstance(value, str) else tuple(map(str, value))
    if not all(words):
        raise ValueError("use one name or more, with commas between")
    return words


def _keys(value: Any) -> tuple[Secret, ...]:
    from celeriac.signing import Secret  # noqa: PLC0415 - most have none

    given = [part for part in value.split(";") if part] if isinstance(value, str) else value
    if isinstance(given, bytes):
        raise TypeError("use a list of keys")
    return tuple(key if isinstance(key, Secret) else Secret(key) for key in given)


def _compression(value: Any) -> str:
    try:
        return compression_type(str(value))
    except ConfigurationError as error:
        raise ValueError(str(error)) from None


def _setting(default: Any, read: Callable[[Any], Any], meaning: str, *, secret: bool = False) -> Any:
    return field(default=default, metadata={"read": read, "meaning": meaning, "secret": secret})


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Settings:
    """The settings of one App. Its repr shows no secret."""

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
        5.0, _bound, "Seconds in which a call returns, its message confirmed by the broker, or raises."
    )
    publish_confirm: str = _setting(
        "wait",
        _one_of(*PUBLISH_CONFIRMS),
        "`wait`: a call returns when its message is confirmed. `deferred`: at once; a failure is raised later, see "
        "`App.flush`.",
    )
    max_message_bytes: int = _setting(8 * 1024 * 1024, _count, "Largest message body, in bytes.")
    task_serializer: str = _setting(
        "json", str, "What encodes arguments: `json`, `msgpack`, `cloudpickle`, a plugin's."
    )
    result_serializer: str = _setting("json", str, "What encodes results; as `task_serializer`.")
    accept_content: tuple[str, ...] = _setting(
        ("json",), _words, "What is decoded: arguments by a worker, results by a caller (a list, or `,` between)."
    )
    task_compression: str | None = _setting(
        None, _compression, "What compresses arguments: `gzip`, `zstd`, `bzip2`, `xz`. None: nothing does."
    )
    signing_keys: tuple[Secret, ...] = _setting(
        (),
        _keys,
        "Keys for what carries code (a list, or `;` between): the first one signs, each verifies. Never shown.",
        secret=True,
    )
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
    task_always_eager: bool = _setting(
        False, _flag, "For tests: run each task where it is sent, at once, through a broker inside the process."
    )
    task_eager_propagates: bool = _setting(
        False, _flag, "Raise at the call what a task that was run eagerly has raised, instead of at `get()`."
    )

    def __post_init__(self) -> None:
        """Refuse a soft time limit beyond the hard one, and a serializer that is not accepted."""
        _check_limits(self.time_limit, self.soft_time_limit)
        for name in ("task_serializer", "result_serializer"):
            self.refuse_unread(name, getattr(self, name))

    def refuse_unread(self, option: str, serializer: str) -> None:
        """Refuse a serializer that is not accepted.

        Raises:
            ConfigurationError: names the ``option`` that asks for it.
        """
        from celeriac.codec import short_name  # noqa: PLC0415 - who only declares tasks encodes nothing

        if short_name(serializer) not in map(short_name, self.accept_content):
            raise ConfigurationError(
                f"{option}={serializer!r} is not in accept_content={list(self.accept_content)}: nobody would read what "
                "it writes; add it there"
            )

    def __repr__(self) -> str:
        """Return every setting, secrets masked."""
        return f"Settings({', '.join(f'{each.name}={self.shown(each.name)!r}' for each in fields(self))})"

    def shown(self, name: str) -> Any:
        """Return a setting's value for people to read: passwords, keys and tokens are masked."""
        return _shown(name, getattr(self, name))

    @classmethod
    def of(cls, layers: Iterable[Layer]) -> Settings:
        """Return the settings that ``layers`` give, each value from the first that has it.

        Raises:
            UnknownOption: a layer has a name that is no setting, with a did-you-mean.
            ConfigurationError: a value that does not fit.
        """
        values: dict[str, Any] = {}
        for layer in layers:
            values = {**layer.read(), **values}
        return cls(**values)

    @classmethod
    def resolve(cls, arguments: Mapping[str, Any], environ: Mapping[str, str] | None = None) -> Settings:
        """Return the settings that ``arguments`` and the environment give, and nothing else; raises as `of`."""
        return cls.of([Layer("argument", arguments), environment(environ)])


@dataclass(frozen=True, slots=True)
class Layer:
    """One place that gives settings.

    Attributes:
        origin: what people call it.
        values: by the settings' names, not yet read; ``None`` is as if it were not there.
        where: what an error says before a setting's name.
        capitals: the names are in capitals there.
    """

    origin: str
    values: Mapping[str, Any]
    where: str = ""
    capitals: bool = False

    def origin_of(self, name: str) -> str:
        """Return what people call the place of one setting."""
        return f"{self.origin} {self._said(name)}" if self.capitals else self.origin

    def _said(self, name: str) -> str:
        return f"{self.where}{name.upper() if self.capitals else name}"

    def read(self) -> dict[str, Any]:
        """Return the values, each as its setting's type; raises as `Settings.of`."""
        known = {each.name: each for each in fields(Settings)}
        values: dict[str, Any] = {}
        for name, value in self.values.items():
            if name not in known:
                raise UnknownOption(f"setting of {self.origin}" if self.where else "setting", str(name), known)
            if value is not None:
                values[name] = self._read(name, value, known[name].metadata["read"])
        _check_limits(values.get("time_limit"), values.get("soft_time_limit"))
        return values

    def _read(self, name: str, value: Any, read: Callable[[Any], Any]) -> Any:
        try:
            return read(value)
        except (TypeError, ValueError) as error:
            said = self._said(name)
            if read is _keys:
                raise ConfigurationError(f"{said}: {error}") from None  # it says what is wrong, and never the value
            if _is_secret(name):
                raise ConfigurationError(f"{said}={HIDDEN}: it cannot be read as what it is to be") from None
            from celeriac.transport_helpers import masked  # noqa: PLC0415 - as `_tell_unknown_variables`

            raise ConfigurationError(f"{said}={masked(str(value))!r}: {masked(str(error))}") from None


def environment(environ: Mapping[str, str] | None = None) -> Layer:
    """Return what the environment gives; a variable with the prefix that is no setting is logged once a process.

    Args:
        environ: instead of the process's own.
    """
    environ = os.environ if environ is None else environ
    names = {PREFIX + each.name.upper(): each.name for each in fields(Settings)}
    _tell_unknown_variables(environ, names)
    values = {name: environ[variable] for variable, name in names.items() if variable in environ}
    return Layer("environment", values, where=PREFIX, capitals=True)


_told: set[str] = set()


def _tell_unknown_variables(environ: Mapping[str, str], known: Iterable[str]) -> None:
    import logging  # noqa: PLC0415 - for what is wrong only

    for name in environ:
        if name.startswith(PREFIX) and name not in known and not name.startswith(NOT_SETTINGS) and name not in _told:
            _told.add(name)
            logging.getLogger("celeriac").warning(
                "environment variable %s is no setting%s", name, did_you_mean(name, known)
            )


def _check_limits(hard: float | None, soft: float | None) -> None:
    if hard is not None and soft is not None and soft > hard:
        raise ConfigurationError(f"soft_time_limit={soft:g} is beyond time_limit={hard:g}; the soft one comes first")


def _is_secret(name: str) -> bool:
    """Return whether a setting is never shown: it says so, or its name does."""
    marked = next((each.metadata.get("secret", False) for each in fields(Settings) if each.name == name), False)
    return bool(marked or _SECRET.search(name))


def _shown(name: str, value: Any) -> Any:
    if isinstance(value, tuple):
        return tuple(_shown(name, each) for each in value)
    from celeriac.transport_helpers import masked  # noqa: PLC0415 - for people only

    if value is None or not _is_secret(name):
        return masked(value) if isinstance(value, str) else value
    return HIDDEN
