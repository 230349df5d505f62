"""Reads the rows of a file, one at a time: an export of ours, or a list in CSV.

An export is read twice: first whole, so that nothing is written out of a file that was cut off or damaged. It is opened
once, so that what takes the place of the file meanwhile is not read. Of what it holds twice only what counts is kept in
mind, which is what was changed while it was made.
"""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from typing import IO, Any, Protocol

from contactsvc.domain.contact_method import ContactMethod
from contactsvc.domain.kinds import Slot
from contactsvc.domain.normalization import ValueRules
from contactsvc.errors import FieldViolation, InvalidFields
from contactsvc.transfer import formats
from contactsvc.transfer.formats import NotOurFormat, Row

# More than the longest record that keeps the rules has, with every character escaped.
_LONGEST_LINE = 1 << 20

_CARRIAGE_RETURNS = "its lines end with a carriage return alone; save it with line ends LF or CRLF"


@dataclass(frozen=True, slots=True)
class Numbered:
    """What a line holds.

    Attributes:
        line: its number, from 1.
        row: the record, or what is wrong with it.
        position: how many bytes had been read after it.
        id: of the record; empty when that cannot be told.
    """

    line: int
    row: Row | InvalidFields
    position: int
    id: str


class Source(Protocol):
    """A file that can be imported."""

    notes: list[str]
    """What people should know about it."""
    environment: str | None
    """Where its records come from, if it says so."""

    def rows(self, rules: ValueRules, now: datetime) -> Iterator[Numbered]:
        """Yield its rows; raise NotOurFormat."""
        ...


class JsonLines:
    """An export.

    Args:
        file: is read twice, and closed by whoever opened it.

    Raises:
        NotOurFormat: it is none, or not whole.
        OSError: it cannot be read.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._last: dict[str, int] = {}
        # Who has a primary slot, or an external id, as far as that was changed during the export.
        self._claims: dict[Slot | str, str] = {}
        self.notes: list[str] = []
        self.environment: str | None = self._look().environment

    def rows(self, rules: ValueRules, now: datetime) -> Iterator[Numbered]:
        """Yield the rows that count.

        Two records with one primary slot, or one external id, can be in an export when one of them was deleted while it
        was made, after it had been read. The one that was changed then has it; the other comes without.
        """
        del now
        self._file.seek(0)
        for number, line in enumerate(_lines(self._file), 1):
            if number == 1 or _is_trailer(line):
                continue
            try:
                row = formats.to_row(line, rules)
            except InvalidFields as error:
                yield Numbered(number, error, self._file.tell(), formats.id_of(line))
                continue
            record = row.record
            if self._last.get(record.id, number) != number:
                continue
            if record.is_primary and self._claims.get(record.slot, record.id) != record.id:
                record = replace(record, is_primary=False)
            if record.external_id is not None and self._claims.get(record.external_id, record.id) != record.id:
                record = replace(record, external_id=None)
            yield Numbered(number, replace(row, record=record), self._file.tell(), record.id)

    def _look(self) -> formats.Header:
        """Check that the file is whole, and note which of several lines of a record counts; return the header."""
        lines = _lines(self._file)
        first = next(lines, b"")
        header = formats.to_header(first)
        total = formats.Sum()
        total.header(first)
        claimed: dict[str, list[Slot | str]] = {}
        for number, line in enumerate(lines, 2):
            if _is_trailer(line):
                if line != total.trailer():
                    raise NotOurFormat("it has been changed or damaged: its last line does not fit the others")
                if next(lines, None) is not None:
                    raise NotOurFormat("it goes on after its last line")
                return header
            total.record(line)
            changed = formats.changed_at(line)
            if changed is not None and changed >= header.changed_from:
                # What is no record at all, `rows` says.
                with suppress(InvalidFields):
                    self._note(formats.to_row(line, _ANY_VALUE).record, number, claimed)
        raise NotOurFormat("it was cut off: its last line is missing")

    def _note(self, record: ContactMethod, number: int, claimed: dict[str, list[Slot | str]]) -> None:
        self._last[record.id] = number
        for claim in claimed.pop(record.id, ()):
            if self._claims.get(claim) == record.id:
                del self._claims[claim]
        claims: list[Slot | str] = [record.slot] if record.is_primary else []
        claims += [record.external_id] if record.external_id is not None else []
        self._claims.update(dict.fromkeys(claims, record.id))
        claimed[record.id] = claims


class CsvList:
    """A list of people's own.

    Args:
        file: is read twice, and closed by whoever opened it.

    Raises:
        NotOurFormat: it names no columns, or wrong ones.
        OSError: it cannot be read.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.notes: list[str] = []
        self.environment: str | None = None
        ignored = formats.csv_header(_column_names(_csv_rows(file)))
        if ignored:
            self.notes.append(
                f"these columns are not read: {', '.join(ignored)}; the service sets them, and rows without "
                f"external_id become new records (an exact restore needs JSON Lines)"
            )

    def rows(self, rules: ValueRules, now: datetime) -> Iterator[Numbered]:
        """Yield the rows."""
        self._file.seek(0)
        rows = _csv_rows(self._file)
        names = _column_names(rows)
        for number, cells in rows:
            if not any(cells):
                continue
            if len(cells) < len(names) or any(cells[len(names) :]):
                problem = FieldViolation("record", f"must have {len(names)} cells, as the first line")
                yield Numbered(number, InvalidFields([problem]), self._file.tell(), "")
                continue
            try:
                row = formats.to_listed(dict(zip(names, cells, strict=False)), rules, now=now)
            except InvalidFields as error:
                yield Numbered(number, error, self._file.tell(), "")
            else:
                yield Numbered(number, row, self._file.tell(), row.record.id)


# Values are of no interest in the first reading.
_ANY_VALUE = ValueRules(lenient=True)


def _lines(file: IO[bytes]) -> Iterator[bytes]:
    while line := file.readline(_LONGEST_LINE):
        if len(line) == _LONGEST_LINE:
            raise NotOurFormat(_CARRIAGE_RETURNS if b"\r" in line else "one of its lines is longer than any record")
        yield line


def _is_trailer(line: bytes) -> bool:
    if b'"sha256"' not in line or b'"lines"' not in line:
        return False
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return False
    return isinstance(found, dict) and found.keys() == {"lines", "sha256"}


def _column_names(rows: Iterator[tuple[int, list[str]]]) -> list[str]:
    """Return the cells of the first row, without the empty ones that spreadsheets put after the last."""
    names = [name.strip() for name in next(rows, (0, []))[1]]
    while names and not names[-1]:
        names.pop()
    return names


def _csv_rows(file: IO[bytes]) -> Iterator[tuple[int, list[str]]]:
    """Yield each row with the number of its last line."""
    line = b""

    def texts() -> Iterator[str]:
        # Where it is no CSV, the line says why.
        nonlocal line
        for number, line in enumerate(_lines(file), 1):
            try:
                # Excel puts a byte order mark first.
                yield line.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError:
                raise NotOurFormat(f"line {number} is not UTF-8") from None

    csv.field_size_limit(min(_LONGEST_LINE, sys.maxsize))
    reader: Any = csv.reader(texts(), strict=True)
    try:
        for cells in reader:
            yield reader.line_num, cells
    except csv.Error:
        if b"\r" in line.rstrip(b"\r\n"):
            raise NotOurFormat(_CARRIAGE_RETURNS) from None
        raise NotOurFormat(f"line {reader.line_num} is no CSV: a quote is not closed, or stands alone") from None
