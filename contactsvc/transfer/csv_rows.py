"""CSV: exports for spreadsheets, and lists from elsewhere.

A list describes records without ids, times and verifications, which the service sets. docs/backup.md has the columns,
csv_text.py the encodings and separators.
"""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import IO, Any, Final

from contactsvc.domain import validation
from contactsvc.domain.contact_method import ContactMethod
from contactsvc.domain.normalization import ValueRules, trim
from contactsvc.domain.normalization.characters import DEFAULT_IGNORABLE
from contactsvc.errors import InvalidFields
from contactsvc.transfer import fields
from contactsvc.transfer.csv_text import CsvText, NumberedCells
from contactsvc.transfer.exporter import ExportHeader
from contactsvc.transfer.sources import NumberedRow, Row, UnreadableFile

_REQUIRED: Final = ("client_id", "type", "value")
_PAIR_PREFIX: Final = "metadata."
_MAX_NAMED_COLUMNS = 20


def csv_line(cells: Sequence[str]) -> bytes:
    """Return the cells as a line."""
    line = io.StringIO(newline="")
    csv.writer(line).writerow(cells)
    return line.getvalue().encode()


def column_names() -> list[str]:
    """Return the first row of an export."""
    return [field.name for field in fields.COLUMNS]


def cells_of(record: ContactMethod) -> list[str]:
    """Return the row of a record in an export."""
    return [_cell(field.write(record)) for field in fields.COLUMNS]


def parse_cells(cells: Mapping[str, str], rules: ValueRules, *, now: datetime) -> Row:
    """Return the record of a row of a list; raise InvalidFields.

    Args:
        cells: by the name of their column; an empty cell counts as absent.
        rules: how values are read.
        now: the time of creation.
    """
    found: dict[str, Any] = {}
    pairs: dict[str, str] = {}
    for name, cell in cells.items():
        if not cell:
            continue
        if _is_pair(name):
            pairs[name.removeprefix(_PAIR_PREFIX)] = cell
        elif not (field := fields.BY_NAME[name]).is_set_by_service and (trimmed := trim(cell)):
            found[name] = field.from_cell(trimmed)
    metadata = found.get("metadata", {})
    if pairs and isinstance(metadata, dict):
        found["metadata"] = {**metadata, **pairs}
    return fields.listed_row(validation.Violations(), found, rules, now=now)


class CsvSink:
    """Writes CSV for spreadsheets.

    Values are written unchanged, including those that a spreadsheet runs as formulas.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def begin(self, header: ExportHeader) -> None:
        """Write the names of the columns."""
        del header
        self._file.write(csv_line(column_names()))

    def put(self, record: ContactMethod) -> None:
        """Write a record."""
        self._file.write(csv_line(cells_of(record)))

    def end(self) -> None:
        """Write nothing: CSV has no trailer."""


class CsvSource:
    """Reads a list, twice: the first pass checks the whole file, so that a broken one writes nothing.

    Args:
        file: a regular file, which the caller closes.

    Raises:
        UnreadableFile: the encoding, the quotes, the first row or the number of cells of a row is wrong.
        OSError: reading failed.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._text = CsvText(file, _names_required_columns)
        self.notes = list(self._text.notes)
        self.environment: str | None = None
        names = names_of(self._text.rows())
        _check_names(names)
        self._text.check(len(names))
        if ignored := [name for name in names if name in fields.BY_NAME and fields.BY_NAME[name].is_set_by_service]:
            self.notes.append(
                f"columns ignored: {', '.join(ignored)}. The service sets them; to restore records exactly, export and "
                f"import JSON Lines"
            )

    def rows(self, rules: ValueRules, now: datetime) -> Iterator[NumberedRow]:
        """Yield the rows."""
        rows = self._text.rows()
        names = names_of(rows)
        for line, cells in rows:
            row: Row | InvalidFields
            try:
                row = parse_cells(dict(zip(names, cells, strict=False)), rules, now=now)
            except InvalidFields as error:
                row = error
            yield NumberedRow(line, row, self._file.tell(), row.record.id if isinstance(row, Row) else "")


def _cell(value: object) -> str:
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case dict():
            return json.dumps(value, ensure_ascii=False, separators=(",", ":")) if value else ""
        case _:
            return str(value)


def names_of(rows: Iterator[NumberedCells]) -> list[str]:
    """Return the column names of the first row, without the empty ones that spreadsheets append.

    Letter case and blank or invisible characters around a name do not count, and a blank inside is an underscore; the
    key in `metadata.KEY` keeps its case.
    """
    names = [_folded(name) for name in next(rows, (0, []))[1]]
    while names and not names[-1]:
        names.pop()
    return names


def _folded(name: str) -> str:
    visible = "".join(character for character in trim(name) if character not in DEFAULT_IGNORABLE)
    prefix, key = visible[: len(_PAIR_PREFIX)], visible[len(_PAIR_PREFIX) :]
    if prefix.lower() == _PAIR_PREFIX:
        return _PAIR_PREFIX + trim(key)
    return "_".join(visible.lower().split())


def _is_pair(name: str) -> bool:
    return name.startswith(_PAIR_PREFIX)


def _names_required_columns(cells: Sequence[str]) -> bool:
    return set(map(_folded, cells)).issuperset(_REQUIRED)


def _check_names(names: list[str]) -> None:
    """Raise UnreadableFile when a column is missing, duplicate or unknown."""
    if missing := [name for name in _REQUIRED if name not in names]:
        raise UnreadableFile(
            f"missing column {', '.join(missing)}; the first row must name the columns, separated by commas, "
            f"semicolons or tabs"
        )
    # Named by position: an unknown name may hold anything.
    unknown = [i for i, name in enumerate(names, 1) if name not in fields.BY_NAME and not _is_pair(name)]
    if unknown:
        raise UnreadableFile(f"unknown {_numbered(unknown)}; see contactsvc import --help for the names")
    for name, count in Counter(names).items():
        if count > 1:
            shown = _PAIR_PREFIX + "KEY" if _is_pair(name) else name
            twice = _numbered([i for i, other in enumerate(names, 1) if other == name])
            raise UnreadableFile(f"{twice} have the same name: {shown}")
    problems = validation.Violations()
    for i, name in enumerate(names, 1):
        if _is_pair(name):
            validation.metadata_key(problems, f"column {i}", name.removeprefix(_PAIR_PREFIX))
    if (error := problems.error()) is not None:
        raise UnreadableFile("; ".join(f"{one.field}: {one.description}" for one in error.violations))


def _numbered(columns: Iterable[int]) -> str:
    numbers = list(map(str, columns))
    more = len(numbers) - _MAX_NAMED_COLUMNS
    named = ", ".join(numbers[:_MAX_NAMED_COLUMNS]) + (f" and {more} more" if more > 0 else "")
    return f"{'column' if len(numbers) == 1 else 'columns'} {named}"
