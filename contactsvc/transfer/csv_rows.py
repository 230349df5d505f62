"""CSV (RFC 4180, UTF-8): exports for spreadsheets, and lists from elsewhere.

A list describes records without ids, times and verifications, which the service sets. docs/backup.md has the columns.
"""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import IO, Any, Final

from contactsvc.domain import validation
from contactsvc.domain.contact_method import ContactMethod
from contactsvc.domain.normalization import ValueRules
from contactsvc.errors import FieldViolation, InvalidFields
from contactsvc.transfer import fields
from contactsvc.transfer.exporter import ExportHeader
from contactsvc.transfer.sources import (
    CARRIAGE_RETURNS,
    MAX_LINE_BYTES,
    NumberedRow,
    Row,
    UnreadableFile,
    read_lines,
)

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
    found: dict[str, Any] = {
        field.name: field.from_cell(cells[field.name]) for field in fields.GIVEN if cells.get(field.name)
    }
    pairs = {name.removeprefix(_PAIR_PREFIX): cell for name, cell in cells.items() if _is_pair(name) and cell}
    metadata = found.get("metadata", {})
    if pairs and isinstance(metadata, dict):
        found["metadata"] = {**metadata, **pairs}
    return Row(record=fields.listed_record(validation.Violations(), found, rules, now=now), is_restore=False)


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
    """Reads a list.

    Args:
        file: a regular file, which the caller closes.

    Raises:
        UnreadableFile: the first row does not name the columns, or names unknown ones.
        OSError: reading failed.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.notes: list[str] = []
        self.environment: str | None = None
        names = names_of(numbered_cells(file))
        _check_names(names)
        if ignored := [name for name in names if name in fields.BY_NAME and fields.BY_NAME[name].is_set_by_service]:
            self.notes.append(
                f"columns ignored: {', '.join(ignored)}. The service sets them, and a row without external_id becomes "
                f"a new record; to restore records exactly, export and import JSON Lines"
            )

    def rows(self, rules: ValueRules, now: datetime) -> Iterator[NumberedRow]:
        """Yield the rows."""
        self._file.seek(0)
        rows = numbered_cells(self._file)
        names = names_of(rows)
        for number, cells in rows:
            if not any(cells):
                continue
            row = self._parse(names, cells, rules, now)
            yield NumberedRow(number, row, self._file.tell(), row.record.id if isinstance(row, Row) else "")

    def _parse(self, names: list[str], cells: list[str], rules: ValueRules, now: datetime) -> Row | InvalidFields:
        if len(cells) < len(names) or any(cells[len(names) :]):
            return InvalidFields([FieldViolation("record", f"must have {len(names)} cells, like the first row")])
        try:
            return parse_cells(dict(zip(names, cells, strict=False)), rules, now=now)
        except InvalidFields as error:
            return error


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


def _is_pair(name: str) -> bool:
    return name.startswith(_PAIR_PREFIX)


def names_of(rows: Iterator[tuple[int, list[str]]]) -> list[str]:
    """Return the cells of the first row, without the empty ones that spreadsheets append."""
    names = [name.strip() for name in next(rows, (0, []))[1]]
    while names and not names[-1]:
        names.pop()
    return names


def _check_names(names: list[str]) -> None:
    """Raise UnreadableFile when a column is missing, duplicate or unknown."""
    if missing := [name for name in _REQUIRED if name not in names]:
        raise UnreadableFile(
            f"missing column {', '.join(missing)}; the first row must name the columns, separated by commas"
        )
    if len(set(names)) != len(names):
        raise UnreadableFile("two columns have the same name")
    # Named by position: an unknown name may hold anything.
    unknown = [str(i) for i, name in enumerate(names, 1) if name not in fields.BY_NAME and not _is_pair(name)]
    if unknown:
        noun = "column" if len(unknown) == 1 else "columns"
        raise UnreadableFile(
            f"unknown {noun} {', '.join(unknown[:_MAX_NAMED_COLUMNS])}; see contactsvc import --help for the names"
        )


def numbered_cells(file: IO[bytes]) -> Iterator[tuple[int, list[str]]]:
    """Yield each row with the number of its last line."""
    line = b""

    def texts() -> Iterator[str]:
        # Kept for the message when the row is malformed.
        nonlocal line
        for number, line in enumerate(read_lines(file), 1):
            try:
                # Excel writes a byte order mark.
                yield line.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError:
                raise UnreadableFile(f"line {number} is not UTF-8") from None

    csv.field_size_limit(min(MAX_LINE_BYTES, sys.maxsize))
    reader: Any = csv.reader(texts(), strict=True)
    try:
        for cells in reader:
            yield reader.line_num, cells
    except csv.Error:
        if b"\r" in line.rstrip(b"\r\n"):
            raise UnreadableFile(CARRIAGE_RETURNS) from None
        raise UnreadableFile(f"line {reader.line_num} is not valid CSV: unbalanced quotes") from None
