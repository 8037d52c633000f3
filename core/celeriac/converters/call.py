"""What a function's annotations say of its arguments and its result, on both sides of the way."""

from __future__ import annotations

from functools import cached_property, partial
from inspect import Parameter, Signature, isroutine, unwrap
from typing import TYPE_CHECKING, Any

from celeriac.converters.base import Invalid
from celeriac.converters.find import ANYTHING, converter_for
from celeriac.converters.hints import hints_of
from celeriac.errors import ValidationError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from celeriac.converters.base import Converter

_POSITIONAL = (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)
RESULT = "result"


class CallTypes:
    """The annotations of one task. They are read at the first call, when what they name is there.

    Values whose types are exactly those of the annotations are passed by one comparison.
    """

    def __init__(self, task: str, fn: Callable[..., Any], signature: Signature) -> None:
        """Describe a task.

        Args:
            task: its name, for errors.
            fn: its function.
            signature: of what is sent, so without a first argument that is the task itself.
        """
        self._task = task
        self._fn = fn
        self._signature = signature

    def dump(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> tuple[Sequence[Any], Mapping[str, Any]]:
        """Return arguments as plain data.

        Raises:
            ValidationError: names the argument and the way to what is wrong in it.
        """
        if self._says_nothing or (not kwargs and tuple(map(type, args)) == self._exact):
            return args, kwargs
        return self._each(args, kwargs, "dump")

    def load(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> tuple[Sequence[Any], Mapping[str, Any]]:
        """Return plain arguments as what the function is annotated with; raises as `dump`."""
        if self._says_nothing or (not kwargs and tuple(map(type, args)) == self._exact):
            return args, kwargs
        return self._each(args, kwargs, "load")

    def dump_result(self, value: Any) -> Any:
        """Return a result as plain data; raises as `dump`."""
        result = self._result
        return value if result.free or type(value) in result.exact else self._converted(result, value, RESULT, "dump")

    def load_result(self, plain: Any) -> Any:
        """Return a plain result as what the function says that it returns; raises as `dump`."""
        result = self._result
        return plain if result.free or type(plain) in result.exact else self._converted(result, plain, RESULT, "load")

    @cached_property
    def _hints(self) -> dict[str, Any]:
        fn = unwrap(self._fn)
        while isinstance(fn, partial):
            fn = unwrap(fn.func)
        return hints_of(fn if isroutine(fn) else type(fn).__call__)

    @cached_property
    def _result(self) -> Converter:
        return converter_for(self._hints.get("return", Any))

    @cached_property
    def _by_name(self) -> dict[str, Converter]:
        return {name: converter_for(self._hints.get(name, Any)) for name in self._signature.parameters}

    @cached_property
    def _says_nothing(self) -> bool:
        return all(converter.free for converter in self._by_name.values())

    @cached_property
    def _positional(self) -> list[str]:
        return [each.name for each in self._signature.parameters.values() if each.kind in _POSITIONAL]

    @cached_property
    def _exact(self) -> tuple[type, ...] | None:
        """The types of a call that needs no look: every argument given in its place, each of one plain type."""
        exact = [self._by_name[name].exact for name in self._positional]
        if len(self._positional) != len(self._signature.parameters) or any(len(kinds) != 1 for kinds in exact):
            return None
        return tuple(next(iter(kinds)) for kinds in exact)

    @cached_property
    def _further(self) -> dict[Any, str]:
        """The names of ``*args`` and ``**kwargs``, by kind."""
        return {each.kind: each.name for each in self._signature.parameters.values()}

    def _each(
        self, args: Sequence[Any], kwargs: Mapping[str, Any], way: str
    ) -> tuple[Sequence[Any], Mapping[str, Any]]:
        names, rest = self._positional, self._further.get(Parameter.VAR_POSITIONAL, "")
        done = [
            self._argument(names[place] if place < len(names) else rest, place, value, way)
            for place, value in enumerate(args)
        ]
        others = self._further.get(Parameter.VAR_KEYWORD, "")
        known = self._signature.parameters
        return done, {
            name: self._argument(name if name in known else others, name, value, way) for name, value in kwargs.items()
        }

    def _argument(self, parameter: str, place: int | str, value: Any, way: str) -> Any:
        """Convert one argument; one that the function has no parameter for is left to the call, which says so."""
        converter = self._by_name.get(parameter, ANYTHING)
        if converter.free:
            return value
        described = self._signature.parameters[parameter]
        if value is None and described.default is None:
            return None
        if described.kind is Parameter.VAR_POSITIONAL:
            place = int(place) - len(self._positional)
        elif described.kind is not Parameter.VAR_KEYWORD:
            return self._converted(converter, value, parameter, way)
        return self._converted(converter, value, f"{parameter}[{place!r}]", way)

    def _converted(self, converter: Converter, value: Any, root: str, way: str) -> Any:
        try:
            return getattr(converter, way)(value)
        except Invalid as error:
            raise ValidationError(
                error.problem, root=root, path=error.steps[::-1], task=self._task
            ) from error.__cause__
        except RecursionError:
            raise ValidationError("it contains itself, or is nested too deeply", root=root, task=self._task) from None
