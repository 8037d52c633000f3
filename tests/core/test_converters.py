"""Annotations: what they let travel, what they refuse, and that the way there and back is the identity."""

import enum
import math
import sys
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import InitVar, dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Generic, Literal, NamedTuple, NewType, NotRequired, Optional, TypedDict, TypeVar
from uuid import UUID, uuid4

import msgspec
import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from celeriac.converters import converter_for
from celeriac.converters.base import Invalid
from celeriac.json_codec import JsonCodec
from celeriac_msgpack.codec import MsgpackCodec

T = TypeVar("T")
U = TypeVar("U")
CODECS = [JsonCodec(), MsgpackCodec()]


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Odd(enum.Enum):
    PAIR = (1, 2)
    THING = object()


class Level(enum.IntEnum):
    LOW = 1


@dataclass(frozen=True)
class Line:
    price: Decimal
    tags: frozenset[str] = frozenset()


@dataclass
class Order:
    id: UUID
    lines: list[Line]
    colour: Colour = Colour.RED
    before: Optional["Order"] = None
    total: Decimal = field(init=False)

    def __post_init__(self):
        self.total = sum((line.price for line in self.lines), Decimal(0))


@dataclass
class Box(Generic[T]):
    item: T
    more: list[T]


@dataclass
class Picky:
    number: int

    def __post_init__(self):
        if self.number < 0:
            raise RuntimeError("too small")


@dataclass
class Wants:
    number: int
    key: InitVar[str]


class Point(NamedTuple):
    x: int
    path: Path


class Row(TypedDict):
    number: int
    colour: NotRequired[Colour]


class Model(pydantic.BaseModel):
    number: int
    at: datetime
    alias: str = pydantic.Field("x", alias="theAlias")
    lines: list[Line] = []


class Struct(msgspec.Struct):
    number: int
    days: dict[int, date]


class Pair(msgspec.Struct, Generic[T, U]):
    one: T
    two: U


class Many(pydantic.BaseModel, Generic[T]):
    items: list[T]


UserId = NewType("UserId", int)
LINE = Line(Decimal("1.50"), frozenset({"new"}))
ORDER = Order(uuid4(), [LINE], Colour.BLUE, Order(uuid4(), []))
NOON = datetime(2026, 5, 6, 12, tzinfo=UTC)

TRAVEL = [
    (int, 1),
    (float, 1.5),
    (bool, True),
    (str, "x"),
    (bytes, b"\xff"),
    (None, None),
    (datetime, NOON),
    (date, date(2026, 5, 6)),
    (time, time(7, 8)),
    (timedelta, timedelta(1, 2, 3)),
    (Decimal, Decimal("1.50")),
    (UUID, uuid4()),
    (Path, Path("/a/b")),
    (PurePosixPath, PurePosixPath("a")),
    (Colour, Colour.RED),
    (Odd, Odd.PAIR),
    (Odd, Odd.THING),
    (Level, Level.LOW),
    (UserId, 3),
    (Annotated[int, "whatever"], 3),
    (Literal["a", 1, True], True),
    (Line, LINE),
    (Order, ORDER),
    (list[Order], [ORDER, ORDER]),
    (Box[int], Box(1, [2])),
    (Box[Line], Box(LINE, [LINE])),
    (Box[list[Colour]], Box([Colour.RED], [])),
    (Point, Point(1, Path("a"))),
    (Row, {"number": 1, "colour": Colour.RED}),
    (Row, {"number": 1}),
    (Model, Model(number=1, at=NOON, theAlias="y", lines=[LINE])),
    (list[Model], [Model(number=1, at=NOON)]),
    (Model | None, None),
    (Struct, Struct(1, {3: date(2026, 5, 6)})),
    (dict[str, Struct], {"a": Struct(1, {})}),
    (Pair[Line, int], Pair(LINE, 2)),
    (Many[int], Many[int](items=[1])),
    (dict[int, Line], {1: LINE}),
    (dict[Colour, int], {Colour.RED: 1}),
    (dict[UUID, Decimal], {uuid4(): Decimal(1)}),
    (dict[date, list[int]], {date(2026, 5, 6): [1]}),
    (dict[bool, str], {True: "x"}),
    (Mapping[str, Path], {"a": Path("b")}),
    (Sequence[Colour], [Colour.RED]),
    (tuple[int, Colour], (1, Colour.RED)),
    (tuple[int, ...], (1, 2)),
    (tuple[()], ()),
    (tuple, (1, "a")),
    (set[Colour], {Colour.RED}),
    (frozenset[tuple[int, int]], frozenset({(1, 2)})),
    (deque[int], deque([1])),
    (list, [1, "a"]),
    (dict, {"a": 1}),
    (int | str | None, "x"),
    (int | list[Line], [LINE]),
    (Line | Row, {"number": 1}),
    (UUID | str, "not a uuid"),
    (str | UUID, uuid4()),
    (Any, [1, {"a": None}]),
    (object, 1),
    ("Missing", {"a": 1}),
    (T, [1]),
]


@pytest.mark.parametrize("codec", CODECS, ids=lambda codec: codec.content_type)
@pytest.mark.parametrize(("annotation", "value"), TRAVEL, ids=[f"{case[0]}"[:50] for case in TRAVEL])
def test_a_value_comes_back_as_what_it_was(annotation, value, codec):
    converter = converter_for(annotation)
    back = converter.load(codec.decode(codec.encode(converter.dump(value))))
    assert back == value
    assert type(back) is type(value)


# annotation, value, the way to the culprit, words
REFUSED_AT_SEND = [
    (int, "1", "", "expected int, not str"),
    (str, 1, "", "expected str"),
    (float, "1", "", "expected float"),
    (date, NOON, "", "expected date, not datetime"),
    (datetime, date(2026, 5, 6), "", "expected datetime"),
    (Path, "a", "", "expected Path"),
    (Colour, "red", "", "expected Colour"),
    (Literal[1], True, "", "is none of 1"),
    (list[int], [1, "x"], "[1]", "expected int"),
    (list[int], (1,), "", "expected list, not tuple"),
    (Sequence[int], "12", "", "expected list or tuple, not str"),
    (tuple[int, str], (1,), "", "expected 2 items, not 1"),
    (tuple[int, str], (1, 2), "[1]", "expected str"),
    (dict[str, list[int]], {"a": [1, None]}, "['a'][1]", "expected int, not NoneType"),
    (dict[int | str, int], {1: 1}, "[1]", "would come back as '1'"),
    (dict[tuple[int, int], int], {(1, 2): 1}, "[(1, 2)]", "a key that is one value"),
    (list[Box[int]], [Box(1, ["x"])], "[0].more[0]", "expected int"),
    (Line, {"price": Decimal(1)}, "", "expected Line, not dict"),
    (Wants, None, "", "expected Wants"),
    (Row, {}, "", "wants number"),
    (Row, {"number": 1, "colour": 1}, ".colour", "expected Colour"),
    (Row, {"number": 1, "more": 1}, "", "has no 'more'"),
    (Model, Model.model_construct(number="bad", at=NOON), ".number", "valid integer"),
    (Model, {"number": 1}, "", "expected Model, not dict"),
    (Struct, Struct("bad", {}), ".number", "Expected `int`, got `str`"),
    (str | Path, Path("a"), "", "would come back as a str"),
    (int | None, "x", "", "expected int | None, not str"),
    (list[Line] | None, [LINE, 1], "[1]", "expected Line"),
]


@pytest.mark.parametrize(
    ("annotation", "value", "where", "words"), REFUSED_AT_SEND, ids=map(str, range(len(REFUSED_AT_SEND)))
)
def test_what_is_not_as_annotated_is_refused_with_the_way_to_it(annotation, value, where, words):
    with pytest.raises(Invalid) as caught:
        converter_for(annotation).dump(value)
    assert "".join(reversed(caught.value.steps)) == where
    assert words in caught.value.problem


REFUSED_AT_RECEIVE = [
    (int, "1", "", "expected int"),
    (UUID, "x", "", "'x' is no UUID"),
    (datetime, "yesterday", "", "is no datetime"),
    (Decimal, "x", "", "is no Decimal"),
    (Colour, "green", "", "'green' is no Colour"),
    (Odd, [], "", "is no Odd"),
    (timedelta, "x", "", "expected seconds"),
    (timedelta, 1e300, "", "too large"),
    (timedelta, math.nan, "", "too large"),
    (float, 10**400, "", "too large for a float"),
    (set[Any], [[1]], "", "no set can be made"),
    (dict[int, int], {"x": 1}, "['x']", "expected int"),
    (Line, [], "", "expected an object for Line"),
    (Line, {}, "", "wants price"),
    (Line, {"price": 1}, ".price", "expected Decimal"),
    (Line, {"price": Decimal(1), "more": 1}, "", "Line has no 'more'"),
    (Picky, {"number": -1}, "", "Picky refuses it: RuntimeError: too small"),
    (Model, {"number": "x", "at": "2026-01-01"}, ".number", "valid integer"),
    (Model, {"number": object()}, "", "expected JSON for Model"),
    (Model, {"number": 1, "at": "2026-01-01", "lines": [{}]}, ".lines[0].price", "Field required"),
    (Struct, {"number": 1}, "", "missing required field `days`"),
    (Pair[int, int], {"one": 1, "two": "x"}, ".two", "Expected `int`"),
    (Point, [1], "", "expected 2 items"),
    (Point, {}, "", "expected a list"),
]


@pytest.mark.parametrize(
    ("annotation", "plain", "where", "words"), REFUSED_AT_RECEIVE, ids=map(str, range(len(REFUSED_AT_RECEIVE)))
)
def test_what_comes_and_is_not_as_annotated_is_refused(annotation, plain, where, words):
    with pytest.raises(Invalid) as caught:
        converter_for(annotation).load(plain)
    assert "".join(reversed(caught.value.steps)) == where
    assert words in caught.value.problem


def test_what_init_wants_and_no_field_keeps_is_refused_at_send():
    with pytest.raises(Invalid, match="Wants keeps no key, which __init__ wants"):
        converter_for(Wants).dump(Wants(1, "x"))


def test_a_subclass_would_lose_what_it_adds():
    @dataclass(frozen=True)
    class More(Line):
        more: int = 1

    with pytest.raises(Invalid, match=r"expected Line, not .*More"):
        converter_for(Line).dump(More(Decimal(1)))


def test_text_of_another_language_is_read():
    assert converter_for(datetime).load("2026-05-06T12:00:00+00:00") == NOON
    assert converter_for(date).load("2026-05-06") == date(2026, 5, 6)
    assert converter_for(Decimal).load("1.5") == Decimal("1.5")
    assert converter_for(Order).load({"id": str(ORDER.id), "lines": []}) == Order(ORDER.id, [])


# --- generated --------------------------------------------------------------------------------------------------------

lines = st.builds(Line, st.decimals(-(10**6), 10**6, places=2), st.frozensets(st.text(max_size=3), max_size=3))
orders = st.recursive(
    st.builds(Order, st.uuids(), st.lists(lines, max_size=3), st.sampled_from(Colour)),
    lambda before: st.builds(Order, st.uuids(), st.lists(lines, max_size=1), st.sampled_from(Colour), before),
    max_leaves=4,
)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=4)
models = st.builds(
    Model,
    number=st.integers(-(2**63), 2**63),
    at=st.datetimes(timezones=st.just(UTC)),
    theAlias=texts,
)
durations = st.timedeltas(timedelta(days=-99_000), timedelta(days=99_000))
pairs = st.tuples(st.sampled_from(Colour), durations)
generated = [
    (list[Order], st.lists(orders, max_size=2)),
    (
        dict[str, Model],
        st.dictionaries(texts, models, max_size=2),
    ),
    (
        dict[int, tuple[Colour, timedelta]],
        st.dictionaries(st.integers(), pairs),
    ),
    (dict[date, set[UUID]], st.dictionaries(st.dates(), st.sets(st.uuids(), max_size=2), max_size=3)),
    (
        int | float | str | None | Line | list[int],
        st.integers() | st.floats(allow_nan=False) | st.text(max_size=5) | st.none() | lines | st.lists(st.integers()),
    ),
]


@given(st.data())
@pytest.mark.parametrize(("annotation", "values"), generated, ids=[str(case[0])[:40] for case in generated])
def test_generated_values_come_back(annotation, values, data):
    value = data.draw(values)
    converter, codec = converter_for(annotation), JsonCodec()
    back = converter.load(codec.decode(codec.encode(converter.dump(value))))
    assert back == value
    assert type(back) is type(value)


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.binary(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(st.sampled_from([case[0] for case in TRAVEL]), plain)
def test_whatever_comes_is_taken_or_refused_and_nothing_else_is_raised(annotation, value):
    with suppress(Invalid):
        converter_for(annotation).load(value)


@pytest.mark.skipif(sys.version_info < (3, 12), reason="`type X = ...` is of Python 3.12")
def test_an_alias_may_stand_for_itself():
    made = {}
    exec("type Json = dict[str, Json] | list[Json] | str | None\ntype A = list[B]\ntype B = dict[str, A] | int", made)  # noqa: S102
    for name, value in (("Json", {"a": ["x", None, {"b": []}]}), ("A", [1, {"x": [2, {}]}])):
        converter = converter_for(made[name])
        assert converter.load(converter.dump(value)) == value
    with pytest.raises(Invalid, match="not float"):
        converter_for(made["Json"]).dump({"a": [1.5]})
