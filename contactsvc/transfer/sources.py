"""The interface of file formats to an import: numbered rows, each a record or its violations.

A source checks in its constructor everything that must hold before anything is written, and yields rows in a second
pass. One row of a file may become several records, which share its line number.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import IO, Protocol

from contactsvc.domain.contact_method import ContactMethod
from contactsvc.domain.normalization import ValueRules
from contactsvc.errors import FieldViolation, InvalidFields

MAX_LINE_BYTES = 1 << 20
"""More than the longest valid record with every character escaped."""
CARRIAGE_RETURNS = "lines end with a bare carriage return; save the file with LF or CRLF line endings"


class UnreadableFile(ValueError):
    """The file is in another format, or incomplete. The message gives the reason, and quotes no record."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A record to be written.

    Attributes:
        record: the record; its etag is empty.
        is_restore: whether id, times and verification are those of the file. Otherwise the row is one of a list: its id
            is derived from the row, and its times are those of the import.
        refusal: why today's rules cannot read the value of a row of a list. Such a row creates and changes no value; it
            describes a record that has the same text.
    """

    record: ContactMethod
    is_restore: bool
    refusal: FieldViolation | None = None


@dataclass(frozen=True, slots=True)
class NumberedRow:
    """A row with its place in the file.

    Attributes:
        line: the number of the first line of the row, from 1.
        row: the record, or its violations.
        position: the number of bytes read so far.
        id: of the record; empty when it is not known.
    """

    line: int
    row: Row | InvalidFields
    position: int
    id: str


class Source(Protocol):
    """A file to be imported."""

    notes: list[str]
    """Remarks for the user."""
    environment: str | None
    """The environment that the records were exported from, if the file names one."""

    def rows(self, rules: ValueRules, now: datetime) -> Iterator[NumberedRow]:
        """Yield the rows; raise UnreadableFile."""
        ...


def read_lines(file: IO[bytes]) -> Iterator[bytes]:
    """Yield the lines of a file with their ends; raise UnreadableFile for one that is too long."""
    number = 0
    while line := file.readline(MAX_LINE_BYTES):
        number += 1
        if len(line) == MAX_LINE_BYTES:
            raise UnreadableFile(
                CARRIAGE_RETURNS if b"\r" in line else f"line {number} is longer than {MAX_LINE_BYTES:,} bytes"
            )
        yield line
