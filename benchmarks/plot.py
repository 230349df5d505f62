"""The picture: CPU for each call, calls per second and documents per second, for every server, as SVG and PNG."""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.results import Figures
from benchmarks.servers import LABELS

_COLOURS = {
    "floor": "#b8b8b8",
    "contactsvc": "#1b6ca8",
    "unbatched": "#8fbfe0",
    "pymongo": "#6a5acd",
    "fastapi": "#e0963c",
    "node": "#5a9e5f",
    "driver": "#555555",
}


def draw(all_figures: list[Figures], path: Path) -> list[Path]:
    """Draw the comparison at the level nearest to 64 in flight; return the files."""
    calls = [one for one in all_figures if one.unit == "call"]
    # The echo of a prepared stream is forty times faster than anything that reads a database.
    documents = [one for one in all_figures if one.unit == "document" and one.server != "floor"]
    panels: list[tuple[str, list[Figures], str, str]] = []
    if calls:
        level = min({one.in_flight for one in calls}, key=lambda level: abs(level - 64))
        shown, title = [one for one in calls if one.in_flight == level], f"{level} calls in flight"
        panels.append((title, shown, "server_us", "server CPU per call, µs\n(less is better)"))
        panels.append((title, shown, "per_second", "calls per second on this machine\n(more is better)"))
    if documents:
        panels.append(("one call at a time", documents, "per_second", "documents per second\n(more is better)"))
    if not panels:
        return []
    figure = Figure(figsize=(12, 3.6 * len(panels) + 0.6), layout="constrained")
    handles: dict[str, Artist] = {}
    for axes, (title, shown, attribute, label) in zip(
        figure.subplots(len(panels), 1, squeeze=False)[:, 0], panels, strict=True
    ):
        handles |= _bars(axes, shown, attribute, label)
        axes.set_title(title, loc="left", fontsize=10)
    names = [name for name in LABELS if name in handles]
    figure.legend(
        [handles[name] for name in names],
        [LABELS[name] for name in names],
        loc="outside upper center",
        frameon=False,
        fontsize=9,
        ncols=4,
    )
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
    sizes = sorted({int(one.case.removeprefix("get-")) for one in all_figures})
    axes.set_xticks(sizes, [f"{size:,}" for size in sizes])
    axes.minorticks_off()
    axes.set_ylim(bottom=0)
    axes.yaxis.set_major_formatter("{x:,.0f}")
    axes.set_xlabel("records")
    axes.set_ylabel("CPU per get, µs")
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside upper center", frameon=False, fontsize=9, ncols=4)
    return _save(figure, path)


def _bars(axes: Axes, shown: list[Figures], attribute: str, label: str) -> dict[str, Artist]:
    """Draw a group of bars for each case; return one bar of each server, for the legend."""
    handles: dict[str, Artist] = {}
    titles = list(dict.fromkeys(one.title for one in shown))
    names = [name for name in LABELS if any(one.server == name for one in shown)]
    width = 0.84 / len(names)
    for index, name in enumerate(names):
        values = {one.title: float(getattr(one, attribute)) for one in shown if one.server == name}
        places = [titles.index(title) + (index - (len(names) - 1) / 2) * width for title in values]
        bars = axes.bar(places, list(values.values()), width * 0.94, color=_COLOURS[name])
        handles[name] = bars[0]
        axes.bar_label(bars, fmt="{:,.0f}", fontsize=7, padding=1)
    axes.set_xticks(range(len(titles)), titles)
    axes.set_ylabel(label, fontsize=9)
    axes.spines[["top", "right"]].set_visible(False)
    axes.margins(y=0.12)
    axes.yaxis.set_major_formatter("{x:,.0f}")
    return handles


def _save(figure: Figure, path: Path) -> list[Path]:
    files = [path.with_suffix(suffix) for suffix in (".svg", ".png")]
    # Text as text, and no date or random ids: a new run changes only what it measured.
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "contactsvc"}):
        figure.savefig(files[0], metadata={"Date": None})
        figure.savefig(files[1], dpi=144)
    return files
