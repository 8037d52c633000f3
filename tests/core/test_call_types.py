"""What a function's annotations say of a whole call, and of its result."""

import enum
from dataclasses import dataclass
from decimal import Decimal
from functools import partial, wraps
from inspect import signature
from pathlib import Path
from typing import Optional
from uuid import UUID, uuid4

import pydantic
import pytest

from celeriac.converters import CallTypes
from celeriac.errors import ValidationError


class Colour(enum.Enum):
    RED = "red"


@dataclass
class Line:
    price: Decimal


@dataclass
class Order:
    id: UUID
    lines: list[Line]
    before: Optional["Order"] = None


class Model(pydantic.BaseModel):
    number: int


def types_of(fn):
    return CallTypes("shop.task", fn, signature(fn))


def test_every_kind_of_parameter_is_looked_at():
    def task(a: Colour, /, b: int = 1, *rest: Path, key: UUID | None = None, **others: Decimal): ...

    types, one = types_of(task), uuid4()
    args, kwargs = types.dump((Colour.RED, 2, Path("a")), {"key": one, "x": Decimal(1)})
    assert (args, kwargs) == (["red", 2, "a"], {"key": one, "x": Decimal(1)})
    assert types.load(args, kwargs) == ([Colour.RED, 2, Path("a")], {"key": one, "x": Decimal(1)})
    for wrong, where in [
        (((Colour.RED, "x"), {}), "b: expected int"),
        (((Colour.RED, 1, Path("a"), 3), {}), "rest[1]: expected Path"),
        (((Colour.RED,), {"key": 3}), "key: expected UUID | None"),
        (((Colour.RED,), {"x": 3}), "others['x']: expected Decimal"),
    ]:
        with pytest.raises(ValidationError) as caught:
            types.dump(*wrong)
        assert str(caught.value).startswith(f"shop.task: {where}")


def test_the_error_is_a_type_error_with_its_parts():
    def task(order: Order): ...

    with pytest.raises(TypeError) as caught:
        types_of(task).dump((Order(uuid4(), [Line(1)]),), {})
    error = caught.value
    assert str(error) == "shop.task: order.lines[0].price: expected Decimal, not int"
    assert (error.root, error.path, error.problem) == (
        "order",
        (".lines", "[0]", ".price"),
        "expected Decimal, not int",
    )


def test_none_is_taken_where_it_is_the_default():
    def task(path: Path = None): ...  # noqa: RUF013  as people write it

    assert types_of(task).dump((None,), {}) == ([None], {})


def test_what_an_annotation_names_only_for_type_checkers_is_not_looked_at():
    def task(a: "Nowhere.Thing", b: "list[Elsewhere]", c: int) -> "Nowhere": ...  # noqa: F821

    types = types_of(task)
    assert types.dump((1, 2, 3), {}) == ([1, 2, 3], {})
    assert types.dump_result({"x": 1}) == {"x": 1}
    with pytest.raises(ValidationError, match="c: expected int"):
        types.dump((1, 2, "x"), {})


def test_the_result_too():
    def task() -> dict[str, Colour]: ...

    types = types_of(task)
    assert types.load_result(types.dump_result({"a": Colour.RED})) == {"a": Colour.RED}
    with pytest.raises(ValidationError, match=r"shop.task: result\['a'\]: expected Colour, not int"):
        types.dump_result({"a": 1})
    with pytest.raises(ValidationError, match="result: expected dict"):
        types.dump_result(None)


def test_what_holds_itself_is_refused():
    order = Order(uuid4(), [])
    order.before = order

    def task(order: Order): ...

    with pytest.raises(ValidationError, match="order: it contains itself, or is nested too deeply"):
        types_of(task).dump((order,), {})


def test_a_secret_is_not_in_the_error():
    def task(key: int, model: Model): ...

    for args in ({"key": "open-sesame"}, {"model": Model.model_construct(number="open-sesame")}):
        with pytest.raises(ValidationError) as caught:
            types_of(task).dump((), args)
        assert "open-sesame" not in str(caught.value)


class Adder:
    def __call__(self, x: int, y: int) -> int:
        return x + y

    def add(self, x: int, y: int) -> int:
        return x + y


def add(x: int, y: int) -> int:
    return x + y


@wraps(add)
def logged(*args):
    return add(*args)


@pytest.mark.parametrize("fn", [Adder(), Adder().add, partial(add), partial(partial(add)), logged])
def test_whatever_is_called_is_looked_at(fn):
    types = types_of(fn)
    assert types.dump((1, 2), {}) == ((1, 2), {})
    assert types.dump_result(3) == 3
    with pytest.raises(ValidationError, match="y: expected int"):
        types.dump((1, "x"), {})
    with pytest.raises(ValidationError, match="result: expected int"):
        types.dump_result("x")


@pytest.mark.parametrize("fn", [divmod, partial(divmod, 7), [].append])
def test_what_says_nothing_takes_anything(fn):
    assert types_of(fn).dump(("x",), {}) == (("x",), {})
    assert types_of(fn).load_result("x") == "x"
