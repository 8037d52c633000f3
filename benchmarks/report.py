"""Results as Markdown: what was to be reached and what was, and below it every row with all who competed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.rows import rows

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from benchmarks.model import Row, Target
    from benchmarks.results import Results, Spread

BEGIN, END = "<!-- benchmarks: begin -->", "<!-- benchmarks: end -->"
SMALL, LARGE = 10, 1000
HEADS = {
    "rate": "tasks/s",
    "cpu": "CPU us/task",
    "broker": "broker us/task",
    "cost": "CPU of both us/task",
    "pss": "PSS MB",
    "grown": "MB more",
    "twice": "ran twice",
    "lost": "not run",
    "p50": "p50 ms",
    "p99": "p99 ms",
    "seconds": "s",
    "above_python": "s, above Python's own",
}


def markdown(results: Results) -> str:
    """Return the whole report."""
    known = rows(tuple(results.rows))
    parts = ["\n".join(_about(results)), "\n".join(_summary(results, known))]
    parts += ["\n".join(_row(results, name, row)) for name, row in known.items()]
    return "\n\n".join(parts) + "\n"


def write_between_markers(page: Path, text: str) -> None:
    """Put ``text`` between the markers of a page.

    Raises:
        ValueError: it has no markers.
    """
    before, begin, rest = page.read_text().partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"{page} has no lines {BEGIN!r} and {END!r}; write them where the table shall stand")
    page.write_text(f"{before}{BEGIN}\n\n{text}\n{END}{after}")


def is_reached(target: Target, ratio: Spread) -> str:
    """Return ``aim``, ``yes`` or ``no``."""

    def at_least(goal: float) -> bool:
        return ratio.median <= goal if target.lower else ratio.median >= goal

    return "aim" if at_least(target.aim) else "yes" if at_least(target.must) else "no"


def shown(value: float) -> str:
    """Return a figure with as many digits as mean something."""
    if abs(value) >= LARGE:
        return f"{value:,.0f}"
    return f"{value:.3g}" if abs(value) < SMALL else f"{value:.1f}"


def _about(results: Results) -> Iterator[str]:
    about = results.about
    yield f"- **Machine**: {'; '.join([about['machine'], about['system'], *about['brokers']])}"
    yield f"- **Versions**: {'; '.join(about['versions'])}"
    yield f"- **Date**: {about['date']}; medians of {about['rounds']} interleaved rounds"
    yield f"- **Command**: `{about['command']}`"
    if about.get("quick"):
        yield "- **A run to try the suite out (`--quick`): these figures mean nothing.**"


def _summary(results: Results, known: dict[str, Row]) -> Iterator[str]:
    yield from _head("work", "ours", "against", "ratio (lowest to highest)", "target", "moonshot", "reached")
    for name, row in known.items():
        for target in row.targets:
            ratio = results.ratio(name, target)
            against = target.against or "-"
            if ratio is None:
                yield _line(target.what or row.title, target.ours, against, "not measured", target.must, target.aim, "")
                continue
            ours = results.figure(name, target.ours, target.figure)
            theirs = None if target.against is None else results.figure(name, target.against, target.figure)
            unit = HEADS[target.figure]
            yield _line(
                target.what or row.title,
                f"{target.ours}: {shown(ours.median)} {unit}" if ours else target.ours,
                f"{against}: {shown(theirs.median)} {unit}" if theirs else against,
                f"{shown(ratio.median)} ({shown(ratio.low)} to {shown(ratio.high)})",
                f"{'<=' if target.lower else '>='} {target.must:g}",
                f"{target.aim:g}",
                is_reached(target, ratio),
            )


def _row(results: Results, name: str, row: Row) -> Iterator[str]:
    yield f"### `{name}`: {row.title}\n"
    columns = [figure for figure in row.shown if any(results.figure(name, c.name, figure) for c in row.contenders)]
    yield from _head(
        "system", "queue", "results", "confirms", "acks", "fsync", *(HEADS[figure] for figure in columns), "range"
    )
    for contender in row.contenders:
        terms, figures = contender.terms, [results.figure(name, contender.name, figure) for figure in columns]
        if not any(figures):
            continue
        first = figures[0]
        spread = f"{shown(first.low)} to {shown(first.high)}" if first else ""
        failed = results.errors(name, contender.name)
        yield _line(
            contender.name + (f" ({failed} rounds failed)" if failed else ""),
            terms.queue,
            terms.results,
            terms.confirms,
            terms.acks,
            terms.fsync,
            *(shown(figure.median) if figure else "" for figure in figures),
            spread,
        )
    if row.note:
        yield f"\n{row.note}"
    left_out = results.left_out.get(name, {})
    if left_out:
        yield f"\nLeft out: {'; '.join(f'{contender} ({reason})' for contender, reason in left_out.items())}."


def _head(*cells: str) -> Sequence[str]:
    return (_line(*cells), _line(*("---" for _ in cells)))


def _line(*cells: object) -> str:
    return "| " + " | ".join(str(cell) for cell in cells) + " |"
