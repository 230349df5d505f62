"""The picture of a run as SVG and PNG: CPU per call, calls per second and documents per second."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.results import Figures
from benchmarks.servers import LABELS

# contactsvc with other settings, and the bare driver, are in the tables alone: more bars would be hard to read.
_COLOURS = {
    "floor": "#b8b8b8",
    "contactsvc": "#1b6ca8",
    "fastapi": "#e0963c",
    "node": "#5a9e5f",
    "go": "#b5507a",
}
_OURS_ONLY = ("create-retry-safe",)
_WIDTH_INCHES, _ROW_INCHES, _LEGEND_INCHES = 10.0, 2.3, 0.5


@dataclass(frozen=True)
class _Panel:
    """Bars of one figure, a group for each case."""

    title: str
    figures: list[Figures]
    attribute: str


def draw(all_figures: list[Figures], path: Path) -> list[Path]:
    """Draw the comparison at the level nearest to 64 calls in flight; return the files."""
    shown = [one for one in all_figures if one.server in _COLOURS and one.case not in _OURS_ONLY]
    rows = [[panel] for panel in _panels_of_calls([one for one in shown if one.unit == "call"])]
    # Without the echo, which repeats a prepared stream forty times faster than anything reads a database.
    rows.append(_panels_of_documents([one for one in shown if one.unit == "document" and one.server != "floor"]))
    rows = [row for row in rows if row]
    if not rows:
        return []
    figure = Figure(figsize=(_WIDTH_INCHES, _ROW_INCHES * len(rows) + _LEGEND_INCHES), layout="constrained")
    handles: dict[str, Artist] = {}
    for row, part in zip(rows, figure.subfigures(len(rows), 1, squeeze=False)[:, 0], strict=True):
        for panel, axes in zip(row, part.subplots(1, len(row), squeeze=False)[0], strict=True):
            handles |= _bars(axes, panel)
    names = [name for name in LABELS if name in handles]
    figure.legend(
        [handles[name] for name in names],
        [LABELS[name] for name in names],
        loc="outside upper center",
        frameon=False,
        fontsize=8,
        ncols=len(names),
    )
    return _save(figure, path)


def _panels_of_calls(figures: list[Figures]) -> list[_Panel]:
    if not figures:
        return []
    level = min({one.in_flight for one in figures}, key=lambda level: abs(level - 64))
    shown, calls = [one for one in figures if one.in_flight == level], f"{level} calls in flight"
    return [
        _Panel(f"Server CPU per call, µs (less is better), {calls}", shown, "server_us"),
        _Panel(f"Calls per second (more is better), {calls}", shown, "per_second"),
    ]


def _panels_of_documents(figures: list[Figures]) -> list[_Panel]:
    return [
        _Panel("Documents per second, one call at a time", [one for one in figures if one.case == case], "per_second")
        for case in dict.fromkeys(one.case for one in figures)
    ]


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


def _bars(axes: Axes, panel: _Panel) -> dict[str, Artist]:
    """Draw a group of bars for each case; return one bar of each server, for the legend."""
    handles: dict[str, Artist] = {}
    titles = list(dict.fromkeys(one.title for one in panel.figures))
    names = [name for name in LABELS if any(one.server == name for one in panel.figures)]
    width = 0.84 / len(names)
    for index, name in enumerate(names):
        values = {one.title: float(getattr(one, panel.attribute)) for one in panel.figures if one.server == name}
        places = [titles.index(title) + (index - (len(names) - 1) / 2) * width for title in values]
        bars = axes.bar(places, list(values.values()), width * 0.94, color=_COLOURS[name])
        handles[name] = bars[0]
        axes.bar_label(bars, fmt="{:,.0f}", fontsize=7, padding=1)
    axes.set_title(panel.title, loc="left", fontsize=9)
    axes.set_xticks(range(len(titles)), titles, fontsize=8)
    # The bars are labelled with their values.
    axes.set_yticks([])
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.margins(y=0.15)
    return handles


def _save(figure: Figure, path: Path) -> list[Path]:
    files = [path.with_suffix(suffix) for suffix in (".svg", ".png")]
    # Text as text, without date and random ids, so that a new run changes measured values only.
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "contactsvc"}):
        figure.savefig(files[0], metadata={"Date": None})
        figure.savefig(files[1], dpi=144)
    return files
