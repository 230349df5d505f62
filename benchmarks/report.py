"""The report of a run: tables, JSON, and the chapter of the last complete run in README.md."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks import targets
from benchmarks.options import HERE, Options
from benchmarks.results import Figures, Measurement, Ratio, figures, ratios
from benchmarks.servers import LABELS
from benchmarks.tables import table

_README = HERE / "README.md"
_BUSY = 0.9


@dataclass(frozen=True, kw_only=True)
class Report:
    """The report of a finished run."""

    options: Options
    machine: dict[str, str]
    notes: list[str]
    measurements: list[Measurement]
    summary: str

    @property
    def figures(self) -> list[Figures]:
        """The medians over all rounds."""
        return figures(self.measurements)

    def text(self) -> str:
        """Return the report as plain text."""
        machine = "\n".join(f"{name}: {value}" for name, value in self.machine.items())
        options = self.options
        settings = (
            f"{options.records:,} records; {options.rounds} rounds of {options.seconds:g} s each; "
            f"database: {'SecantusDB (embedded)' if options.mongodb_uri is None else 'CONTACTSVC_BENCH_MONGODB_URI'}"
        )
        notes = "\n".join(f"note: {note}" for note in self.notes)
        parts = [
            machine,
            settings,
            notes,
            _figures_table(self.figures),
            _ratios_table(ratios(self.measurements)),
            _targets_table(self.measurements),
            self.summary,
        ]
        return "\n\n".join(part for part in parts if part) + "\n"

    def to_json(self) -> dict[str, Any]:
        """Return the report as JSON, with each single measurement."""
        options = asdict(self.options)
        del options["mongodb_uri"], options["output"]
        return {
            "machine": self.machine,
            "settings": {**options, "embedded_database": self.options.mongodb_uri is None},
            "notes": self.notes,
            "figures": [asdict(one) for one in self.figures],
            "contactsvc_over": [asdict(one) for one in ratios(self.measurements)],
            "targets": [asdict(one) for one in targets.verdicts(self.measurements)],
            "measurements": [asdict(one) for one in self.measurements],
        }

    def write(self, folder: Path) -> None:
        """Write results.json and results.txt."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "results.json").write_text(json.dumps(self.to_json(), indent=1) + "\n")
        (folder / "results.txt").write_text(self.text())

    def write_into_readme(self) -> None:
        """Replace the text between the markers of this kind of run in README.md."""
        begin, end = (f"<!-- {self.options.kind}: {edge} -->" for edge in ("begin", "end"))
        before, _, rest = _README.read_text().partition(begin)
        after = rest.partition(end)[2]
        _README.write_text(f"{before}{begin}\n\n```text\n{self.text()}```\n\n{end}{after}")


def _figures_table(all_figures: list[Figures]) -> str:
    head = ("case", "in flight", "server", "per second", "p50 ms", "p99 ms", "server µs", "db µs", "server %", "db %",
            "load %", "other %", "RSS MiB", "spread", "")  # fmt: skip
    rows: list[Sequence[str]] = []
    previous = None
    for one in sorted(all_figures, key=_order(all_figures)):
        group = (one.title, one.in_flight)
        unit = "" if one.unit == "call" else f" {one.unit}s"
        if previous not in (None, group):
            rows.append([""] * len(head))
        rows.append(
            (
                one.title if previous is None or previous[0] != one.title else "",
                str(one.in_flight) if previous != group else "",
                LABELS.get(one.server, one.server),
                f"{one.per_second:,.0f}{unit}",
                f"{one.p50_ms:,.2f}",
                f"{one.p99_ms:,.2f}",
                f"{one.server_us:,.1f}" if unit else f"{one.server_us:,.0f}",
                "" if one.database_us is None else f"{one.database_us:,.1f}" if unit else f"{one.database_us:,.0f}",
                f"{one.server_share:.0%}",
                "" if one.database_share is None else f"{one.database_share:.0%}",
                f"{one.generator_share:.0%}" if one.server != "driver" else "",
                f"{one.others_share:.0%}",
                f"{one.resident_mib:,.0f}",
                "" if one.spread is None else f"{one.spread:.2f}",
                _remark(one),
            )
        )
        previous = group
    return table(head, rows)


def _remark(one: Figures) -> str:
    remarks = [f"{one.errors} ERRORS"] if one.errors else []
    if one.generator_share >= _BUSY and one.server != "driver":
        remarks.append("generator is the limit")
    elif one.database_share is not None and one.database_share >= _BUSY:
        remarks.append("database is the limit")
    return ", ".join(remarks)


def _ratios_table(all_ratios: list[Ratio]) -> str:
    others = [name for name in LABELS if any(ratio.other == name for ratio in all_ratios)]
    if not others:
        return ""
    head = ("contactsvc over: server CPU, per second", "in flight", *(LABELS[name] for name in others))
    rows: dict[tuple[str, int], dict[str, str]] = {}
    for ratio in all_ratios:
        cell = f"{ratio.server_us:.2f}x, {ratio.per_second:.2f}x"
        rows.setdefault((ratio.title, ratio.in_flight), {})[ratio.other] = cell
    return table(
        head, [(title, str(level), *(cells.get(name, "") for name in others)) for (title, level), cells in rows.items()]
    )


def _targets_table(measurements: list[Measurement]) -> str:
    rows = [one.row() for one in targets.verdicts(measurements)]
    return table(targets.HEAD, rows) if rows else ""


def _order(all_figures: list[Figures]) -> Any:
    titles = list(dict.fromkeys(one.title for one in all_figures))
    names = list(dict.fromkeys([*LABELS, *(one.server for one in all_figures)]))
    return lambda one: (titles.index(one.title), one.in_flight, names.index(one.server))
