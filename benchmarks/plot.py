"""Results as a picture: how far each figure is from its target, and from the moonshot beyond it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from benchmarks.report import shown
from benchmarks.rows import rows

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.model import Target
    from benchmarks.results import Results

REACHED, MISSED, AIM = "#2a7f62", "#b5533c", "#444444"


def plot(results: Results, file: Path) -> None:
    """Draw one bar a target, as a multiple of it, into ``file``.

    Raises:
        ImportError: matplotlib is not installed: ``pip install 'celeriac[bench]'``.
    """
    import matplotlib as mpl  # noqa: PLC0415 - an extra
    from matplotlib import pyplot as plt  # noqa: PLC0415

    mpl.use("agg")
    bars = list(_bars(results))
    figure, axes = plt.subplots(figsize=(11, 1.2 + 0.34 * len(bars)))
    places = range(len(bars))
    axes.barh(places, [value for _, value, _, _ in bars], color=[REACHED if v >= 1 else MISSED for _, v, _, _ in bars])
    axes.scatter([aim for _, _, aim, _ in bars], places, marker="|", s=120, color=AIM, label="moonshot", zorder=3)
    axes.axvline(1, color="black", linewidth=1, label="target")
    for place, (_, value, _, text) in zip(places, bars, strict=True):
        axes.annotate(text, (value, place), xytext=(4, 0), textcoords="offset points", va="center", fontsize=7)
    axes.set_yticks(places, [name for name, _, _, _ in bars], fontsize=7)
    axes.invert_yaxis()
    axes.margins(y=0.01)
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter("{x:g}")
    axes.set_xlabel("multiple of the target (right of the line: reached)")
    axes.set_title(f"celeriac, {results.about['date']}: {results.about['machine']}", fontsize=9)
    axes.legend(loc="lower right", fontsize=7)
    figure.savefig(file, dpi=150, bbox_inches="tight")
    plt.close(figure)


def _bars(results: Results) -> Any:
    """Give each target that has a figure: its name, figure and moonshot as multiples of the target, and the ratio."""
    for name, row in rows(tuple(results.rows)).items():
        for target in row.targets:
            ratio = results.ratio(name, target)
            if ratio is None or target.against is None:
                continue
            title = f"{target.what or row.title} / {target.against}"
            yield title, _reached(target, ratio.median), _reached(target, target.aim), shown(ratio.median)


def _reached(target: Target, value: float) -> float:
    return target.must / value if target.lower else value / target.must
