"""A task's exception as data: what travels instead of a pickle, and how a caller gets an exception again."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING, Any

from celeriac.codec import Codecs
from celeriac.errors import DecodeError, EncodeError, TaskError
from celeriac.saferepr import saferepr

if TYPE_CHECKING:
    from celeriac.codec import Codec

_DEEPEST = 50
_UNRAISABLE = (StopIteration, StopAsyncIteration)  # neither a coroutine nor a future can raise these
_arguments = BaseException.__dict__["args"].__get__  # a class may hide its instances' ``args``


class RemoteTraceback(Exception):  # noqa: N818  never raised: the cause of a rebuilt exception, named in its traceback
    """The traceback of the process where the task ran, as text."""

    def __str__(self) -> str:
        """Return the text, set apart from the traceback above it."""
        return f'\n"""\n{self.args[0]}"""'


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorData:
    """An exception as data; every field can be marshalled, and written as plain JSON.

    Attributes:
        type: the qualified name of its class (``Outer.Inner``).
        module: the name of its class's module; ``""`` if that is not known.
        mro: its class and their bases up to ``BaseException``, each ``module.qualname``; empty if not known.
        args: what it was built with; typed values stand as JSON envelopes, what cannot be encoded as its repr.
        message: its text.
    """

    type: str
    module: str
    mro: tuple[str, ...] = ()
    args: list[Any]
    message: str

    @classmethod
    def of(cls, error: BaseException, codecs: Codecs) -> ErrorData:
        """Return ``error`` as data, whatever its own methods do.

        Args:
            error: what the task raised.
            codecs: their JSON codec encodes the arguments.
        """
        kind = type(error)
        return cls(
            type=kind.__qualname__,
            module=str(kind.__module__),
            mro=tuple(f"{base.__module__}.{base.__qualname__}" for base in kind.__mro__ if base is not object),
            args=[_plain(argument, codecs.json) for argument in _arguments(error)],
            message=_text(error),
        )

    def encode(self) -> bytes:
        """Return Celery's JSON for it: ``exc_type``, ``exc_message`` (the arguments) and ``exc_module``."""
        table = {"exc_type": self.type, "exc_message": self.args, "exc_module": self.module}
        return json.dumps(table).encode("ascii")

    @classmethod
    def decode(cls, data: bytes) -> ErrorData:
        """Return what `encode`, or Celery, wrote; only ``exc_type`` must be there.

        Raises:
            DecodeError: it is not an encoded exception.
        """
        try:
            table = json.loads(data)
        except (ValueError, RecursionError) as error:
            raise DecodeError(f"the error of a task cannot be read: {error}") from error
        if not isinstance(table, dict) or not isinstance(table.get("exc_type"), str):
            raise DecodeError(f"the error of a task cannot be read: {table!r:.80} has no exc_type")
        module, args = table.get("exc_module"), table.get("exc_message")
        if not isinstance(args, list):
            args = [] if args is None else [args]
        return cls(
            type=table["exc_type"],
            module=module if isinstance(module, str) else "",
            args=args,
            message=str(args[0]) if len(args) == 1 else str(tuple(args)) if args else "",
        )


def rebuild(data: ErrorData, traceback: str | None = None, codecs: Codecs | None = None) -> Exception:
    """Return an exception to raise for a task that failed elsewhere.

    Its class is looked up among the modules that are loaded, never imported, and must be an `Exception`; it is built
    from the arguments. Where that cannot be done it is a `TaskError`, which names it; so are `StopIteration` and
    `StopAsyncIteration`, which no coroutine can raise.

    Args:
        data: what the task raised.
        traceback: text; it is printed with the exception, as its cause.
        codecs: their JSON codec reads the arguments; by default `celeriac.codec.JsonCodec`.
    """
    args = _revived(data.args, (codecs or Codecs()).json)
    error = _built(_find_class(data.module, data.type), args)
    if error is None:
        name = f"{data.module}.{data.type}" if data.module else data.type
        error = TaskError(f"{name}: {data.message}" if data.message else name, name, args)
    if traceback:
        error.__cause__ = RemoteTraceback(traceback)
    return error


def _find_class(module_name: str, qualname: str) -> type[Exception] | None:
    """Return the exception class of that name if its module is loaded; no code of the module runs for it."""
    found: object = sys.modules.get(module_name)
    if not isinstance(found, ModuleType):
        return None
    for part in qualname.split("."):
        if not isinstance(found, ModuleType | type):
            return None
        found = object.__getattribute__(found, "__dict__").get(part)  # a lazy module loads itself by its own getattr
    if isinstance(found, type) and issubclass(found, Exception) and not issubclass(found, _UNRAISABLE):
        return found
    return None


def _built(kind: type[Exception] | None, args: list[Any]) -> Exception | None:
    if kind is None:
        return None
    try:
        error = kind(*args)
    except Exception:  # noqa: BLE001  its __init__ is user code, and may want other arguments than it passed on
        return _bare(kind, args)
    return error if isinstance(error, kind) else None


def _bare(kind: type[Exception], args: list[Any]) -> Exception | None:
    """Return an instance with its ``args`` and nothing that its own ``__init__`` would have set, if it can be shown."""
    try:
        error = kind.__new__(kind, *args)
        str(error)
    except Exception:  # noqa: BLE001  its methods may need what ``__init__`` sets
        return None
    return error if isinstance(error, kind) else None


def _revived(args: list[Any], codec: Codec) -> list[Any]:
    try:
        revived = codec.decode(json.dumps(args).encode("ascii"))
    except DecodeError:  # an envelope of a type unknown here
        return args
    return revived if isinstance(revived, list) else args


def _plain(argument: object, codec: Codec) -> Any:
    try:
        plain = json.loads(codec.encode(argument))
    except (EncodeError, ValueError, RecursionError):
        return saferepr(argument)
    return plain if _depth_is_at_most(_DEEPEST, plain) else saferepr(argument)


def _depth_is_at_most(depth: int, value: object) -> bool:
    # what is deeper could be too deep for the next one on the way, as marshal or json
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return depth > 0 and all(_depth_is_at_most(depth - 1, part) for part in parts)


def _text(error: BaseException) -> str:
    try:
        return str.__str__(str(error))  # an exact str: a subclass could not be marshalled
    except Exception:  # noqa: BLE001  __str__ is user code
        return f"<{type(error).__qualname__} whose text cannot be shown>"
