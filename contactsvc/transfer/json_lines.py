"""JSON Lines: the lossless format of an export, one record a line between a header and a trailer.

It keeps everything but the etag. The trailer holds a count and a digest, so that a truncated or changed file is
recognized. docs/backup.md describes the format for users.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from typing import IO, Any, Final

from contactsvc.domain import validation
from contactsvc.domain.contact_method import ContactMethod
from contactsvc.domain.kinds import Slot
from contactsvc.domain.normalization import ValueRules
from contactsvc.errors import FieldViolation, InvalidFields
from contactsvc.transfer import fields
from contactsvc.transfer.exporter import ExportHeader
from contactsvc.transfer.sources import NumberedRow, Row, UnreadableFile, read_lines

FORMAT_VERSION: Final = 1
"""The version in the header; files of another one are refused."""

_MAX_NAMED_KEYS = 20
# The first pass looks at ids, times and claims, not at values.
_ANY_VALUE = ValueRules(lenient=True)


def header_line(header: ExportHeader) -> bytes:
    """Return the line of a header."""
    return _line(
        {
            "contactsvc_export": FORMAT_VERSION,
            "environment": header.environment,
            "changed_from": fields.format_time(header.changed_from),
        }
    )


def parse_header(line: bytes) -> ExportHeader:
    """Return the header of a line; raise UnreadableFile."""
    try:
        found = json.loads(line)
        version = found["contactsvc_export"]
        if type(version) is not int:
            # It may be anything, and must not be quoted.
            raise ValueError
        if version == FORMAT_VERSION:
            return ExportHeader(str(found["environment"]), fields.parse_time(found["changed_from"]))
    except (ValueError, KeyError, TypeError, RecursionError):
        raise UnreadableFile("the first line is not the header of an export") from None
    raise UnreadableFile(f"unsupported format version {version!r:.20}; this release reads version {FORMAT_VERSION}")


def record_line(record: ContactMethod) -> bytes:
    """Return the line of a record."""
    return _line(fields.to_json(record))


def parse_record(line: bytes, rules: ValueRules) -> Row:
    """Return the record of a line; raise InvalidFields."""
    problems = validation.Violations()
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise InvalidFields([FieldViolation("record", "must be a JSON object")])
    # Named by position: an unknown key may hold anything.
    if unknown := [str(number) for number, name in enumerate(found, 1) if name not in fields.BY_NAME]:
        problems.add("record", f"has unknown keys at position {', '.join(unknown[:_MAX_NAMED_KEYS])}")
    return Row(record=fields.restored_record(problems, found, rules), is_restore=True)


class Checksum:
    """The count and the digest of the lines of an export before its trailer."""

    def __init__(self) -> None:
        self._digest = hashlib.sha256()
        self._records = 0

    def add_header(self, line: bytes) -> None:
        """Add the header."""
        self._digest.update(line)

    def add_record(self, line: bytes) -> None:
        """Add a record."""
        self._digest.update(line)
        self._records += 1

    def trailer(self) -> bytes:
        """Return the trailer, which is the last line of the file."""
        return _line({"lines": self._records, "sha256": self._digest.hexdigest()})


class JsonLinesSink:
    """Writes an export that can be restored exactly."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._checksum = Checksum()

    def begin(self, header: ExportHeader) -> None:
        """Write the header."""
        line = header_line(header)
        self._checksum.add_header(line)
        self._file.write(line)

    def put(self, record: ContactMethod) -> None:
        """Write a record."""
        line = record_line(record)
        self._checksum.add_record(line)
        self._file.write(line)

    def end(self) -> None:
        """Write the trailer."""
        self._file.write(self._checksum.trailer())


class JsonLinesSource:
    """Reads an export, twice: the first pass checks the whole file, so that a truncated one writes nothing.

    Of records that changed during the export the last line counts. Only their ids are kept in memory.

    Args:
        file: a regular file, which the caller closes.

    Raises:
        UnreadableFile: it is not an export, or not a complete one.
        OSError: reading failed.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._last_lines: dict[str, int] = {}
        # The ids of the records that hold a primary slot or an external id, of those that changed during the export.
        self._holders: dict[Slot | str, str] = {}
        self.notes: list[str] = []
        self.environment: str | None = self._check().environment

    def rows(self, rules: ValueRules, now: datetime) -> Iterator[NumberedRow]:
        """Yield the rows that count.

        Two records of an export may hold the same primary slot or external id: one was read, and deleted before the
        other one took it over. The one that changed during the export keeps it.
        """
        del now
        self._file.seek(0)
        # Counted here: the file would ask the system.
        position = 0
        for number, line in enumerate(read_lines(self._file), 1):
            position += len(line)
            if number == 1 or _is_trailer(line):
                continue
            try:
                row = parse_record(line, rules)
            except InvalidFields as error:
                yield NumberedRow(number, error, position, _id_of(line))
                continue
            record = row.record
            if self._last_lines.get(record.id, number) != number:
                continue
            if record.is_primary and self._holders.get(record.slot, record.id) != record.id:
                record = replace(record, is_primary=False)
            if record.external_id is not None and self._holders.get(record.external_id, record.id) != record.id:
                record = replace(record, external_id=None)
            # The row is copied only where the record differs: seldom, and a copy costs as much as the decoding.
            if record is not row.record:
                row = replace(row, record=record)
            yield NumberedRow(number, row, position, record.id)

    def _check(self) -> ExportHeader:
        """Check that the file is complete, and note which lines count; return the header."""
        lines = read_lines(self._file)
        first = next(lines, b"")
        header = parse_header(first)
        checksum = Checksum()
        checksum.add_header(first)
        held: dict[str, list[Slot | str]] = {}
        for number, line in enumerate(lines, 2):
            if _is_trailer(line):
                if line != checksum.trailer():
                    raise UnreadableFile("the file is damaged or was edited: its checksum does not match")
                if next(lines, None) is not None:
                    raise UnreadableFile("there are lines after the trailer")
                return header
            checksum.add_record(line)
            changed = _changed_at(line)
            if changed is not None and changed >= header.changed_from:
                # The second pass reports an invalid record.
                with suppress(InvalidFields):
                    self._note(parse_record(line, _ANY_VALUE).record, number, held)
        raise UnreadableFile("the file is truncated: its last line is missing")

    def _note(self, record: ContactMethod, number: int, held: dict[str, list[Slot | str]]) -> None:
        self._last_lines[record.id] = number
        for key in held.pop(record.id, ()):
            if self._holders.get(key) == record.id:
                del self._holders[key]
        keys: list[Slot | str] = [record.slot] if record.is_primary else []
        keys += [record.external_id] if record.external_id is not None else []
        self._holders.update(dict.fromkeys(keys, record.id))
        held[record.id] = keys


def _id_of(line: bytes) -> str:
    """Return the id of an invalid record for a message; empty when there is none, or no valid one."""
    problems = validation.Violations()
    try:
        id_ = json.loads(line)["id"]
        id_.encode()
    except (ValueError, RecursionError, KeyError, TypeError, AttributeError):
        return ""
    validation.contact_method_id(problems, "id", id_)
    return "" if problems.has("id") else str(id_)


def _changed_at(line: bytes) -> datetime | None:
    """Return the time of the last change of a record; None when it cannot be read."""
    try:
        return fields.parse_time(json.loads(line)["updated_at"])
    except (ValueError, RecursionError, KeyError, TypeError):
        return None


def _is_trailer(line: bytes) -> bool:
    if b'"sha256"' not in line or b'"lines"' not in line:
        return False
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return False
    return isinstance(found, dict) and found.keys() == {"lines", "sha256"}


def _line(found: Mapping[str, Any]) -> bytes:
    return json.dumps(found, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
