"""Where a task's message goes."""

from __future__ import annotations

import re

import pytest

from celeriac import App, Exchange, Queue, Route
from celeriac.errors import ConfigurationError
from celeriac.routing import Address, Router

DEFAULT = Address("", "celeriac", "celeriac")


def router(routes=None) -> Router:
    return Router(routes, Queue("celeriac"))


def test_without_routes_all_goes_to_the_default_queue() -> None:
    assert router().route("anything") == DEFAULT


@pytest.mark.parametrize(
    ("routes", "task", "address"),
    [
        ({"shop.mail": "mail"}, "shop.mail", Address("", "mail", "mail")),
        ({"shop.mail": "mail"}, "shop.mailbox", DEFAULT),
        ({"shop.*": Queue("mail", "ex", "key")}, "shop.a.b", Address("", "mail", "mail")),
        ({"shop.?": "mail"}, "shop.ab", DEFAULT),
        ({re.compile(r"shop\.\d+"): "mail"}, "shop.12", Address("", "mail", "mail")),
        ({re.compile(r"shop"): "mail"}, "shop.12", DEFAULT),
        ({"*": Route("topics", "a.b")}, "x", Address("topics", "a.b")),
        ({"*": Route(Exchange("topics", "topic"), "a.b")}, "x", Address("topics", "a.b")),
        ({"a.*": "one", "a.b": "two"}, "a.b", Address("", "one", "one")),
        (lambda task: "mail" if task == "m" else None, "m", Address("", "mail", "mail")),
        (lambda task: "mail" if task == "m" else None, "n", DEFAULT),
    ],
)
def test_routes(routes, task: str, address: Address) -> None:
    assert router(routes).route(task) == address


def test_a_function_is_asked_once_a_task() -> None:
    asked: list[str] = []
    routes = router(asked.append)
    for _ in range(3):
        assert routes.route("t") == DEFAULT
    assert asked == ["t"]


@pytest.mark.parametrize("target", [17, None, ("mail",)])
def test_a_target_that_is_none_is_refused_when_the_app_is_made(target) -> None:
    with pytest.raises(ConfigurationError, match="give a Queue, a queue's name or a Route"):
        router({"a": target})


def test_a_function_s_target_is_refused_at_its_first_use() -> None:
    with pytest.raises(ConfigurationError, match="a route leads to 17"):
        router(lambda _: 17).route("t")


def test_a_queue_that_only_a_route_describes_is_the_app_s_too() -> None:
    urgent = Queue("urgent", priorities=10)
    app = App("shop", broker="memory://", routes={"shop.*": urgent})
    assert urgent in app.queues
    assert app.default_queue == app.queues[0] == Queue("celeriac")


def test_what_is_declared_wins_over_what_a_route_describes() -> None:
    declared = Queue("mail", priorities=5)
    app = App("shop", broker="memory://", queues=[declared], routes={"*": Queue("mail")})
    assert app.queues == (Queue("celeriac"), declared)


def test_the_default_queue_can_be_described_by_a_route_as_well() -> None:
    described = Queue("celeriac", priorities=3)
    assert App("shop", broker="memory://", routes={"*": described}).queues == (described,)
