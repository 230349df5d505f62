"""Reads the rows of a file, one at a time: an export of ours, or a list in CSV.

An export is read twice: first whole, so that nothing is written out of a file that was cut off or damaged. Of what it
holds twice only what counts is kept in mind, which is what was changed while it was made.
"""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import IO, Any, Protocol

from contactsvc.domain.contact_method import Slot
from contactsvc.domain.values import ValueRules
from contactsvc.errors import FieldViolation, InvalidFields
from contactsvc.transfer import formats
from contactsvc.transfer.formats import NotOurFormat, Row

# More than the longest record that keeps the rules has, with every character escaped.
_LONGEST_LINE = 1 << 20


@dataclass(frozen=True, slots=True)
class Numbered:
    """What a line holds.

    Attributes:
        line: its number, from 1.
        row: the record, or what is wrong with it.
        position: how many bytes had been read after it.
    """

    line: int
    row: Row | InvalidFields
    position: int


class Source(Protocol):
    """A file that can be imported."""

    notes: list[str]
    """What people should know about it."""

    def rows(self, rules: ValueRules, now: datetime) -> Iterator[Numbered]:
        """Yield its rows; raise NotOurFormat."""
        ...


class JsonLines:
    """An export.

    Args:
        path: where it is.

    Raises:
        NotOurFormat: it is none, or not whole.
        OSError: it cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._last: dict[str, int] = {}
        self._claims: dict[Slot, str] = {}
        self.notes: list[str] = []
        with path.open("rb") as file:
            self._look(file)

    def rows(self, rules: ValueRules, now: datetime) -> Iterator[Numbered]:
        """Yield the rows that count.

        Two primaries of one slot can be in an export when one of them was deleted while it was made, after it had been
        read. The one that was changed then is it; the other comes without the flag.
        """
        del now
        with self._path.open("rb") as file:
            for number, line in enumerate(_lines(file), 1):
                if number == 1 or _is_trailer(line):
                    continue
                row: Row | InvalidFields
                try:
                    row = formats.to_row(line, rules)
                except InvalidFields as error:
                    row = error
                else:
                    record = row.record
                    if self._last.get(record.id, number) != number:
                        continue
                    if record.is_primary and self._claims.get(record.slot, record.id) != record.id:
                        row = replace(row, record=replace(record, is_primary=False))
                yield Numbered(number, row, file.tell())

    def _look(self, file: IO[bytes]) -> None:
        """Check that the file is whole, and note which of several lines of a record counts."""
        lines = _lines(file)
        first = next(lines, b"")
        header = formats.to_header(first)
        total = formats.Sum()
        total.header(first)
        slots: dict[str, Slot] = {}
        for number, line in enumerate(lines, 2):
            if _is_trailer(line):
                if line != total.trailer():
                    raise NotOurFormat("it has been changed or damaged: its last line does not fit the others")
                if next(lines, None) is not None:
                    raise NotOurFormat("it goes on after its last line")
                return
            total.record(line)
            # What is no record at all, `rows` says.
            with suppress(InvalidFields):
                self._note(formats.to_row(line, _ANY_VALUE), number, header, slots)
        raise NotOurFormat("it was cut off: its last line is missing")

    def _note(self, row: Row, number: int, header: formats.Header, slots: dict[str, Slot]) -> None:
        record = row.record
        if record.updated_at < header.changed_from:
            return
        self._last[record.id] = number
        if (slot := slots.pop(record.id, None)) is not None and self._claims.get(slot) == record.id:
            del self._claims[slot]
        if record.is_primary:
            self._claims[record.slot] = record.id
            slots[record.id] = record.slot


class CsvList:
    """A list of people's own.

    Args:
        path: where it is.

    Raises:
        NotOurFormat: it names no columns, or wrong ones.
        OSError: it cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.notes: list[str] = []
        with path.open("rb") as file:
            rows = _csv_rows(file)
            ignored = formats.csv_header([name.strip() for name in next(rows, (0, []))[1]])
        if ignored:
            self.notes.append(
                f"these columns are not read: {', '.join(ignored)}; "
                f"the service sets them (an exact restore needs JSON Lines)"
            )

    def rows(self, rules: ValueRules, now: datetime) -> Iterator[Numbered]:
        """Yield the rows."""
        with self._path.open("rb") as file:
            rows = _csv_rows(file)
            names = [name.strip() for name in next(rows)[1]]
            for number, cells in rows:
                if not any(cells):
                    continue
                row: Row | InvalidFields
                if len(cells) != len(names):
                    row = InvalidFields([FieldViolation("line", f"must have {len(names)} cells, as the first line")])
                else:
                    try:
                        row = formats.to_listed(dict(zip(names, cells, strict=True)), rules, now=now)
                    except InvalidFields as error:
                        row = error
                yield Numbered(number, row, file.tell())


# Values are of no interest in the first reading.
_ANY_VALUE = ValueRules(lenient=True)


def _lines(file: IO[bytes]) -> Iterator[bytes]:
    while line := file.readline(_LONGEST_LINE):
        if len(line) == _LONGEST_LINE:
            raise NotOurFormat("one of its lines is longer than any record")
        yield line


def _is_trailer(line: bytes) -> bool:
    if b'"sha256"' not in line or b'"lines"' not in line:
        return False
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return False
    return isinstance(found, dict) and found.keys() == {"lines", "sha256"}


def _csv_rows(file: IO[bytes]) -> Iterator[tuple[int, list[str]]]:
    """Yield each row with the number of its last line."""

    def texts() -> Iterator[str]:
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
        raise NotOurFormat(f"line {reader.line_num} is no CSV: a quote is not closed, or stands alone") from None
