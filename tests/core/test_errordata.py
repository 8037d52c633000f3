import asyncio
import importlib.util
import json
import marshal
import sys
import traceback
import types
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from celeriac.codec import Codecs
from celeriac.errors import DecodeError, TaskError
from celeriac.protocol import ErrorData, RemoteTraceback, rebuild

CODECS = Codecs()
NOW = datetime(2026, 1, 2, tzinfo=UTC)


class PlainError(Exception):
    pass


class Outer:
    class InnerError(PlainError):
        pass


class OtherArgumentsError(Exception):
    def __init__(self, code, *, text):
        super().__init__(f"{code}: {text}")


class UnprintableError(Exception):
    def __str__(self):
        raise RuntimeError("no text")

    def __repr__(self):
        raise RuntimeError("no repr")


class HiddenArgsError(Exception):
    args = 5


class Word(str):
    __slots__ = ()


class SubclassTextError(Exception):
    def __str__(self):
        return Word("text")


class ChangelingError(Exception):
    def __new__(cls, *args):
        return object() if args == ("swap",) else super().__new__(cls, *args)


class NotAnError:
    pass


here = PlainError.__module__


@pytest.fixture(autouse=True)
def module_is_loaded(monkeypatch):
    # importlib mode does not keep a test module under its name
    monkeypatch.setitem(sys.modules, here, sys.modules.get(here) or types.ModuleType(here))
    monkeypatch.setattr(sys.modules[here], "Outer", Outer, raising=False)


def of(error):
    data = ErrorData.of(error, CODECS)
    assert marshal.loads(marshal.dumps((data.type, data.module, data.mro, data.args, data.message)))  # noqa: S302  ours
    assert ErrorData.decode(data.encode()).args == data.args
    return data


def test_an_exception_as_data():
    data = of(Outer.InnerError("boom", 42, Decimal("1.5"), {1}, NOW))
    assert (data.type, data.module) == ("Outer.InnerError", here)
    assert data.mro == (
        f"{here}.Outer.InnerError",
        f"{here}.PlainError",
        "builtins.Exception",
        "builtins.BaseException",
    )
    assert data.args == [
        "boom",
        42,
        {"__type__": "decimal", "__value__": "1.5"},
        "{1}",
        {"__type__": "datetime", "__value__": "2026-01-02T00:00:00+00:00"},
    ]
    assert json.loads(data.encode()) == {"exc_type": "Outer.InnerError", "exc_message": data.args, "exc_module": here}
    assert data.message == str(Outer.InnerError("boom", 42, Decimal("1.5"), {1}, NOW))


def deep(levels):
    value: list = []
    for _ in range(levels):
        value = [value]
    return value


HOSTILE = [
    UnprintableError("x", UnprintableError()),
    HiddenArgsError(1, 2),
    SubclassTextError("x"),
    PlainError(Word("x")),
    PlainError(deep(1000)),
    PlainError(deep(100_000)),
    PlainError("\ud800"),
    PlainError(float("nan"), 10**5000, b"\xff"),
    KeyboardInterrupt(),
    SystemExit(3),
    asyncio.CancelledError("why"),
    ExceptionGroup("many", [ValueError(1)]),
    UnicodeDecodeError("utf-8", b"x", 0, 1, "bad"),
]


@pytest.mark.parametrize("error", HOSTILE, ids=lambda error: type(error).__name__)
def test_no_exception_is_too_strange_to_become_data_and_to_be_rebuilt(error):
    data = of(error)
    assert data.type == type(error).__qualname__
    rebuilt = rebuild(ErrorData.decode(data.encode()), "text")
    assert isinstance(rebuilt, Exception)


def test_hidden_args_and_strange_texts():
    assert of(HiddenArgsError(1, 2)).args == [1, 2]
    assert of(UnprintableError()).message == "<UnprintableError whose text cannot be shown>"
    assert type(of(SubclassTextError()).message) is str
    assert of(PlainError(UnprintableError())).args == ["<UnprintableError object that cannot be shown>"]


def test_an_argument_that_is_nested_deeply_is_shown_instead():
    assert of(PlainError(deep(20))).args == [deep(20)]
    assert of(PlainError(deep(200))).args == ["[[[[...]]]]"]


def test_it_comes_back_as_its_own_class_with_its_arguments():
    error = rebuild(of(Outer.InnerError("boom", Decimal("1.5"), NOW)))
    assert type(error) is Outer.InnerError
    assert error.args == ("boom", Decimal("1.5"), NOW)
    assert error.__cause__ is None


def test_the_remote_traceback_is_printed_with_it():
    remote = 'Traceback (most recent call last):\n  File "remote.py", line 7\nValueError: boom\n'
    error = rebuild(of(ValueError("boom")), remote)
    assert isinstance(error.__cause__, RemoteTraceback)
    printed = "".join(traceback.format_exception(error))
    assert 'File "remote.py", line 7' in printed
    assert "direct cause" in printed
    assert printed.rstrip().endswith("ValueError: boom")


def data(type_, module=here, args=(), message="text"):
    return ErrorData(type=type_, module=module, args=list(args), message=message)


REFUSED = [
    ("NoSuchClass", here),
    ("Outer", here),
    ("Outer.Nothing", here),
    ("Outer.InnerError.args", here),
    ("", here),
    (".", here),
    ("__name__", here),
    ("SystemExit", "builtins"),
    ("KeyboardInterrupt", "builtins"),
    ("BaseException", "builtins"),
    ("eval", "builtins"),
    ("StopIteration", "builtins"),
    ("StopAsyncIteration", "builtins"),
    ("system", "os"),
    ("path.join", "os"),
    ("ValueError", ""),
    ("ValueError", "no.such.module"),
]


@pytest.mark.parametrize(("name", "module"), REFUSED)
def test_what_is_no_exception_class_here_is_a_task_error(name, module):
    error = rebuild(data(name, module, ["boom", {"__type__": "decimal", "__value__": "2"}]), "remote text")
    assert type(error) is TaskError
    assert error.type_name == (f"{module}.{name}" if module else name)
    assert error.remote_args == ("boom", Decimal(2))
    assert str(error) == f"{error.type_name}: text"
    assert "remote text" in str(error.__cause__)


def test_a_class_that_wants_other_arguments_is_itself_without_its_init(monkeypatch):
    monkeypatch.setattr(sys.modules[here], "OtherArgumentsError", OtherArgumentsError, raising=False)
    error = rebuild(of(OtherArgumentsError(5, text="x")))
    assert type(error) is OtherArgumentsError
    assert str(error) == "5: x"


class NeedsItsInitError(Exception):
    def __init__(self, number, *, text):
        super().__init__(number)
        self.text = text

    def __str__(self):
        return self.text


def test_one_that_cannot_even_be_shown_then_is_a_task_error(monkeypatch):
    monkeypatch.setattr(sys.modules[here], "NeedsItsInitError", NeedsItsInitError, raising=False)
    error = rebuild(of(NeedsItsInitError(5, text="x")))
    assert type(error) is TaskError
    assert str(error) == f"{here}.NeedsItsInitError: x"


def test_a_class_that_makes_something_else_is_a_task_error(monkeypatch):
    monkeypatch.setattr(sys.modules[here], "ChangelingError", ChangelingError, raising=False)
    assert type(rebuild(data("ChangelingError", args=["stay"]))) is ChangelingError
    assert type(rebuild(data("ChangelingError", args=["swap"]))) is TaskError


def test_no_module_is_imported_and_no_lazy_one_loaded(tmp_path, monkeypatch):
    (tmp_path / "lazy_module.py").write_text("raise SystemExit('the module was run')")
    monkeypatch.syspath_prepend(tmp_path)
    assert type(rebuild(data("E", "lazy_module"))) is TaskError
    spec = importlib.util.find_spec("lazy_module")
    spec.loader = importlib.util.LazyLoader(spec.loader)
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "lazy_module", module)
    spec.loader.exec_module(module)
    assert type(rebuild(data("E", "lazy_module"))) is TaskError

    class Talking(types.ModuleType):
        def __getattr__(self, name):
            raise SystemExit("the module was asked")

    monkeypatch.setitem(sys.modules, "lazy_module", Talking("lazy_module"))
    assert type(rebuild(data("E", "lazy_module"))) is TaskError


@pytest.mark.parametrize("entry", [None, 5, object()])
def test_a_strange_entry_in_sys_modules_is_no_module(entry, monkeypatch):
    monkeypatch.setitem(sys.modules, "strange_entry", entry)
    assert type(rebuild(data("E", "strange_entry"))) is TaskError


def test_an_envelope_of_an_unknown_type_is_left_as_it_came():
    strange = {"__type__": "from-the-future", "__value__": 1}
    assert rebuild(data("ValueError", "builtins", [strange])).args == (strange,)


def test_what_celery_writes_loosely_is_read():
    decoded = ErrorData.decode(b'{"exc_type": "E", "exc_message": "boom"}')
    assert decoded == ErrorData(type="E", module="", args=["boom"], message="boom")
    assert str(rebuild(decoded)) == "E: boom"
    assert ErrorData.decode(b'{"exc_type": "E"}').args == []
    assert str(rebuild(ErrorData.decode(b'{"exc_type": "E"}'))) == "E"
    assert ErrorData.decode(b'{"exc_type": "E", "exc_message": [1, 2], "exc_module": 5}').message == "(1, 2)"


@pytest.mark.parametrize("encoded", [b"", b"null", b"5", b"[]", b"{}", b'{"exc_type": 5}', b"\xff", b"[" * 100_000])
def test_what_is_no_error_is_a_decode_error(encoded):
    with pytest.raises(DecodeError, match="error of a task cannot be read"):
        ErrorData.decode(encoded)


@given(
    st.text(max_size=20) | st.sampled_from(["ValueError", "OSError", "UnicodeDecodeError", "ExceptionGroup"]),
    st.text(max_size=10) | st.sampled_from(["builtins", "os", "sys", here, "celeriac.errors"]),
    st.lists(st.none() | st.integers() | st.text(max_size=5) | st.lists(st.integers(), max_size=2), max_size=5),
)
def test_any_data_rebuilds_to_an_exception(name, module, args):
    error = rebuild(data(name, module, args), "text")
    assert isinstance(error, Exception)
    assert isinstance(error.__cause__, RemoteTraceback)
