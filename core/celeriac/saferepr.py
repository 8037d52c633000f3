"""Showing values to people: short, never deep, never raising."""

from __future__ import annotations

LIMIT = 1024
DEPTH = 3
MORE = "..."
_PLAIN = frozenset({int, float, bool, type(None)})
_BRACKETS: dict[type, tuple[str, str]] = {
    list: ("[", "]"),
    tuple: ("(", ")"),
    set: ("{", "}"),
    frozenset: ("frozenset({", "})"),
    dict: ("{", "}"),
}


def saferepr(value: object, limit: int = LIMIT, depth: int = DEPTH) -> str:
    """Return ``repr(value)`` as far as it goes; what it returns can be encoded as UTF-8. Never raises.

    Args:
        value: anything; of a container only as much is looked at as is shown.
        limit: characters at most, 3 or more.
        depth: how many containers are shown inside each other.
    """
    try:
        text = _show(value, limit, depth)
    except Exception:  # noqa: BLE001  another thread may change a container while it is shown
        text = _unshowable(value)
    return text if len(text) <= limit else text[: limit - len(MORE)] + MORE


def _show(value: object, room: int, depth: int) -> str:
    kind = type(value)
    if kind in _BRACKETS:
        return _show_container(value, room, depth)
    try:
        if kind in _PLAIN:
            return repr(value)
        if kind is str or kind is bytes:
            return repr(value[: room + 1])  # type: ignore[index]
        return repr(value).encode("utf-8", "backslashreplace").decode("utf-8")
    except Exception:  # noqa: BLE001  __repr__ is user code; and int refuses to show more than 4300 digits
        return _unshowable(value)


def _show_container(container: object, room: int, depth: int) -> str:
    opening, closing = _BRACKETS[type(container)]
    if not container:
        return repr(container)
    if depth <= 0:
        return opening + MORE + closing
    shown: list[str] = []
    for item in container:  # type: ignore[attr-defined]
        if room <= 0:
            shown.append(MORE)
            break
        text = _show(item, room, depth - 1)
        if type(container) is dict:
            text += ": " + _show(container[item], room, depth - 1)
        shown.append(text)
        room -= len(text) + 2
    if len(shown) == 1 and type(container) is tuple:
        closing = ",)"
    return opening + ", ".join(shown) + closing


def _unshowable(value: object) -> str:
    return f"<{type(value).__qualname__} object that cannot be shown>"
