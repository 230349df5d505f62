"""Draws dashboard.svg, the panels of the Grafana dashboard; `--check` only compares. Run by `make docs`."""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

from generated import write_or_check

_TARGET = Path(__file__).with_name("dashboard.svg")
_DASHBOARD = Path(__file__).parents[1] / "deploy/grafana/contactsvc.json"

# Of Grafana's grid, which has 24 columns.
_COLUMN_PIXELS, _ROW_PIXELS, _COLUMNS = 46, 14, 24
_GAP = 3
_CHARACTER_PIXELS = 5.6
_LINE_PIXELS = 14

# Grafana's names of units.
_UNITS = {
    "bytes": "bytes",
    "cps": "per second",
    "none": "",
    "ops": "per second",
    "percentunit": "%",
    "reqps": "per second",
    "s": "seconds",
    "short": "",
}
_STYLE = """\
text { font: 11px sans-serif; fill: #57606a }
.row { font-weight: bold; font-size: 13px; fill: #1f2328 }
.title { font-weight: bold; fill: #1f2328 }
rect { fill: #f6f8fa; stroke: #d0d7de }
.page { fill: #ffffff; stroke: none }
path { fill: none; stroke: #d0d7de }"""


def drawing() -> str:
    """Return the picture: what each panel shows, at its place, without data."""
    panels = json.loads(_DASHBOARD.read_text())["panels"]
    width = _COLUMNS * _COLUMN_PIXELS
    height = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in panels) * _ROW_PIXELS
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}">',
        f"<style>\n{_STYLE}\n</style>",
        f'<rect class="page" width="{width}" height="{height}"/>',
    ]
    for panel in panels:
        lines += _row(panel) if panel["type"] == "row" else _panel(panel)
    return "\n".join([*lines, "</svg>", ""])


def _row(panel: dict[str, Any]) -> Iterator[str]:
    yield _text(_GAP, (panel["gridPos"]["y"] + 1) * _ROW_PIXELS - 4, panel["title"], "row")


def _panel(panel: dict[str, Any]) -> Iterator[str]:
    place = panel["gridPos"]
    x, y = place["x"] * _COLUMN_PIXELS + _GAP, place["y"] * _ROW_PIXELS + _GAP
    width, height = place["w"] * _COLUMN_PIXELS - 2 * _GAP, place["h"] * _ROW_PIXELS - 2 * _GAP
    yield f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="3"/>'
    if panel["type"] == "timeseries":
        yield f'<path d="M{x + 10} {y + 24} v{height - 34} h{width - 20}"/>'
    yield _text(x + 8, y + 16, panel["title"], "title")
    description = textwrap.wrap(panel.get("description", ""), int((width - 30) / _CHARACTER_PIXELS))
    notes = list(filter(None, [_series(panel), *description]))
    if 24 + _LINE_PIXELS * len(notes) > height:
        # A single number with a long description, which Grafana hides as well until one points at it.
        notes = notes[: -len(description)]
    for i, note in enumerate(notes):
        yield _text(x + 18, y + 34 + _LINE_PIXELS * i, note)


def _series(panel: dict[str, Any]) -> str:
    """Return what the lines of a panel are, and their unit."""
    labels = dict.fromkeys(
        label for target in panel["targets"] for label in re.findall(r"{{(\w+)}}", target.get("legendFormat", ""))
    )
    unit = _UNITS[panel["fieldConfig"]["defaults"]["unit"]]
    lines = f"one line per {' and '.join(labels)}" if labels else ""
    return ", ".join(filter(None, [unit, lines]))


def _text(x: int, y: int, text: str, style: str = "") -> str:
    attribute = f' class="{style}"' if style else ""
    return f'<text x="{x}" y="{y}"{attribute}>{escape(text)}</text>'


if __name__ == "__main__":
    write_or_check(_TARGET, drawing())
