"""Moments on the wire: ISO 8601, and one rule for those without an offset."""

from __future__ import annotations

from datetime import UTC, datetime

from celeriac.errors import ProtocolError


def aware(moment: datetime) -> datetime:
    """Return ``moment`` in UTC; one without an offset is in UTC already, as Celery's are.

    Raises:
        OverflowError: in UTC it lies outside the years 1 to 9999.
    """
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def parse_when(value: object) -> datetime:
    """Return the moment, aware, in UTC.

    Args:
        value: ISO 8601 text, with an offset, ``Z``, or without (then it is UTC); or a datetime, by the same rule.

    Raises:
        ProtocolError: it is neither, or out of range.
    """
    try:
        return aware(value if isinstance(value, datetime) else datetime.fromisoformat(value))  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        raise ProtocolError(f"{value!r:.80} is no moment; it must be ISO 8601 text") from None
