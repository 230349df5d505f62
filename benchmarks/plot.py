"""The picture: CPU for each call and calls per second, for every server side by side, as SVG and PNG."""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.results import Figures
from benchmarks.servers import LABELS

_COLOURS = {
    "floor": "#b8b8b8",
    "contactsvc": "#1b6ca8",
    "unbatched": "#8fbfe0",
    "fastapi": "#e0963c",
    "node": "#5a9e5f",
}


def draw(all_figures: list[Figures], path: Path) -> list[Path]:
    """Draw the comparison at the level nearest to 64 in flight; return the files, or none without unary cases."""
    unary = [one for one in all_figures if one.unit == "call" and one.server in _COLOURS]
    if not unary:
        return []
    level = min({one.in_flight for one in unary}, key=lambda level: abs(level - 64))
    shown = [one for one in unary if one.in_flight == level]
    figure = Figure(figsize=(10, 7.5), layout="constrained")
    upper, lower = figure.subplots(2, 1)
    _bars(upper, shown, "server_us", "server CPU per call, µs (less is better)")
    _bars(lower, shown, "per_second", "calls per second on this machine (more is better)")
    upper.set_title(f"{level} calls in flight", loc="left")
    upper.legend(frameon=False, fontsize=8, ncols=3)
    return _save(figure, path)


def draw_curve(all_figures: list[Figures], path: Path) -> list[Path]:
    """Draw the cost of a read over the number of records; return the files."""
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.subplots()
    for level in sorted({one.in_flight for one in all_figures}):
        points = [one for one in all_figures if one.in_flight == level]
        sizes = [int(one.case.removeprefix("get-")) for one in points]
        line = axes.plot(sizes, [one.server_us for one in points], marker="o", label=f"server, {level} in flight")
        axes.plot(
            sizes,
            [one.database_us or 0 for one in points],
            marker="o",
            linestyle="--",
            color=line[0].get_color(),
            label=f"database, {level} in flight",
        )
    axes.set_xscale("log")
    axes.set_ylim(bottom=0)
    axes.set_xlabel("records")
    axes.set_ylabel("CPU per get, µs")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=8)
    return _save(figure, path)


def _bars(axes: Axes, shown: list[Figures], attribute: str, label: str) -> None:
    titles = list(dict.fromkeys(one.title for one in shown))
    names = [name for name in LABELS if any(one.server == name for one in shown)]
    width = 0.84 / len(names)
    for index, name in enumerate(names):
        values = {one.title: float(getattr(one, attribute)) for one in shown if one.server == name}
        places = [titles.index(title) + (index - (len(names) - 1) / 2) * width for title in values]
        bars = axes.bar(places, list(values.values()), width * 0.94, color=_COLOURS[name], label=LABELS[name])
        axes.bar_label(bars, fmt="{:,.0f}", fontsize=7, padding=1)
    axes.set_xticks(range(len(titles)), titles)
    axes.set_ylabel(label, fontsize=9)
    axes.spines[["top", "right"]].set_visible(False)
    axes.margins(y=0.12)


def _save(figure: Figure, path: Path) -> list[Path]:
    files = [path.with_suffix(suffix) for suffix in (".svg", ".png")]
    # Text as text, and no date or random ids: a new run changes only what it measured.
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "contactsvc"}):
        figure.savefig(files[0], metadata={"Date": None})
        figure.savefig(files[1], dpi=144)
    return files
