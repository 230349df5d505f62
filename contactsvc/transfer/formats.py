"""Contact methods as lines of a file, and back. Pure; docs/backup.md describes both formats for people.

JSON Lines keeps everything but the etag: a header, a record a line, and a trailer with a count and a digest, by which a
file that was cut off is known. CSV is for spreadsheets and for lists from elsewhere. What a field may hold is for
domain/validation.py and domain/values.py to say; here is only said what form it has in a file.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from contactsvc.config import parse_bool
from contactsvc.domain import validation
from contactsvc.domain.contact_method import ContactMethod
from contactsvc.domain.ids import id_of_number
from contactsvc.domain.kinds import ContactMethodType, ContactValue
from contactsvc.domain.normalization import InvalidValue, ValueRules
from contactsvc.errors import FieldViolation, InvalidFields

FORMAT_VERSION: Final = 1
"""Of the JSON Lines; a file of another one is refused."""

CSV_COLUMNS: Final = ("client_id", "type", "value", "label", "is_primary", "external_id", "metadata")
"""What a list may have, besides `metadata.KEY`."""

SET_BY_THE_SERVICE: Final = ("id", "normalized_value", "verified_at", "created_at", "updated_at")
"""What an export has as well, and an import of CSV does not read."""

_RECORD_KEYS = frozenset({*CSV_COLUMNS, *SET_BY_THE_SERVICE})
_PAIR = "metadata."


@dataclass(frozen=True, slots=True)
class Header:
    """The first line of an export.

    Attributes:
        environment: where the records come from.
        changed_from: records that were changed from this time on may be in the file several times; the last one counts.
    """

    environment: str
    changed_from: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A record that is to be.

    Attributes:
        record: it; its etag is empty, and the times of a list are those of the import.
        is_exact: whether it comes with its id and times.
    """

    record: ContactMethod
    is_exact: bool


class NotOurFormat(ValueError):
    """The file is none that can be imported, or not whole; the message says why, without anything from its records."""


def header_line(header: Header) -> bytes:
    """Return the line of a header."""
    return _line(
        {
            "contactsvc_export": FORMAT_VERSION,
            "environment": header.environment,
            "changed_from": _from_time(header.changed_from),
        }
    )


def to_header(line: bytes) -> Header:
    """Return the header of a line; raise NotOurFormat."""
    try:
        found = json.loads(line)
        version = found["contactsvc_export"]
        if type(version) is not int:
            # It may be anything, and is not repeated.
            raise ValueError
        if version == FORMAT_VERSION:
            return Header(str(found["environment"]), _to_time(found["changed_from"]))
    except (ValueError, KeyError, TypeError, RecursionError):
        raise NotOurFormat("its first line is no header of an export") from None
    raise NotOurFormat(f"it has format {version!r:.20}, and this release reads {FORMAT_VERSION}")


def record_line(record: ContactMethod) -> bytes:
    """Return the line of a record; what it has not is left out, but for the normalized value, which says so."""
    line: dict[str, Any] = {
        "id": record.id,
        "client_id": record.client_id,
        "type": record.type.value,
        "value": record.value.text,
        "normalized_value": record.value.normalized,
        "is_primary": record.is_primary,
        "metadata": dict(record.metadata),
        "created_at": _from_time(record.created_at),
        "updated_at": _from_time(record.updated_at),
    }
    if record.label is not None:
        line["label"] = record.label
    if record.external_id is not None:
        line["external_id"] = record.external_id
    if record.verified_at is not None:
        line["verified_at"] = _from_time(record.verified_at)
    return _line(line)


class Sum:
    """The count and the digest of the lines of an export, but for its trailer."""

    def __init__(self) -> None:
        self._digest = hashlib.sha256()
        self.records = 0

    def header(self, line: bytes) -> None:
        """Add the header."""
        self._digest.update(line)

    def record(self, line: bytes) -> None:
        """Add a record."""
        self._digest.update(line)
        self.records += 1

    def trailer(self) -> bytes:
        """Return the last line: nothing follows it."""
        return _line({"lines": self.records, "sha256": self._digest.hexdigest()})


def to_row(line: bytes, rules: ValueRules) -> Row:
    """Return the record of a line.

    A normalized value is taken as it was stored, also none: rules may have changed since, and doctor knows what to do
    about that. Without one the value is read by the rules.

    Raises:
        InvalidFields: the line, or fields of it, break a rule.
    """
    problems = validation.Violations()
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise InvalidFields([FieldViolation("record", "must be a JSON object")])
    # By their place: a name that is not known may be anything.
    if unknown := [str(i) for i, name in enumerate(found, 1) if name not in _RECORD_KEYS]:
        problems.add("record", f"has fields that no contact method has: number {', '.join(unknown[:20])}")
    reading = _Reading(problems, found)
    record = _record(reading, rules, metadata=_pairs(problems, found.get("metadata", {})), exact=True)
    return Row(record=record, is_exact=True)


def id_of(line: bytes) -> str:
    """Return the id that a line names, for a message about it; empty when there is none, or none that could be one."""
    problems = validation.Violations()
    try:
        id_ = json.loads(line)["id"]
        id_.encode()
    except (ValueError, RecursionError, KeyError, TypeError, AttributeError):
        return ""
    validation.contact_method_id(problems, "id", id_)
    return "" if problems.has("id") else str(id_)


def changed_at(line: bytes) -> datetime | None:
    """Return the time of the last change of the record of a line; None when it has none that can be read."""
    try:
        return _to_time(json.loads(line)["updated_at"])
    except (ValueError, RecursionError, KeyError, TypeError):
        return None


def csv_header(names: list[str]) -> list[str]:
    """Check the names of the columns, and return those that are not read.

    Raises:
        NotOurFormat: a column is missing, twice there, or unknown.
    """
    if missing := [name for name in ("client_id", "type", "value") if name not in names]:
        raise NotOurFormat(
            f"it has no column {', '.join(missing)}; the first line must name the columns, separated by commas"
        )
    if len(set(names)) != len(names):
        raise NotOurFormat("two of its columns have one name")
    known = {*CSV_COLUMNS, *SET_BY_THE_SERVICE}
    if any(name not in known and not name.startswith(_PAIR) for name in names):
        numbers = [str(i) for i, name in enumerate(names, 1) if name not in known and not name.startswith(_PAIR)]
        raise NotOurFormat(f"column {', '.join(numbers[:20])} is none that is known; see contactsvc import --help")
    return [name for name in names if name in SET_BY_THE_SERVICE]


def to_listed(cells: Mapping[str, str], rules: ValueRules, *, now: datetime) -> Row:
    """Return the record of a row of a list; an empty cell is as good as none.

    Its id is made from its external id, or from client, type and normalized value, so that an import that is repeated
    meets what it has made.

    Raises:
        InvalidFields: fields of it break a rule.
    """
    problems = validation.Violations()
    given: dict[str, Any] = {name: cells[name] for name in CSV_COLUMNS if cells.get(name)}
    if "is_primary" in given:
        given["is_primary"] = _bool(problems, "is_primary", given["is_primary"])
    metadata: Any = {}
    if "metadata" in given:
        try:
            metadata = json.loads(given["metadata"])
        except (ValueError, RecursionError):
            metadata = None
    pairs = _pairs(problems, metadata)
    pairs |= {name.removeprefix(_PAIR): cell for name, cell in cells.items() if name.startswith(_PAIR) and cell}
    record = _record(_Reading(problems, given), rules, metadata=pairs, exact=False, now=now)
    return Row(record=record, is_exact=False)


def csv_line(record: ContactMethod) -> list[str]:
    """Return the cells of a record, in the order of SET_BY_THE_SERVICE and CSV_COLUMNS; values as they are."""
    verified_at = "" if record.verified_at is None else _from_time(record.verified_at)
    return [
        *(record.id, record.value.normalized or "", verified_at),
        *(_from_time(record.created_at), _from_time(record.updated_at)),
        *(record.client_id, record.type.value, record.value.text, record.label or ""),
        *("true" if record.is_primary else "false", record.external_id or ""),
        json.dumps(dict(record.metadata), ensure_ascii=False, separators=(",", ":")) if record.metadata else "",
    ]


def csv_bytes(cells: list[str]) -> bytes:
    """Return a line of CSV (RFC 4180) in UTF-8."""
    line = io.StringIO(newline="")
    csv.writer(line).writerow(cells)
    return line.getvalue().encode()


class _Reading:
    """The fields of one record, as the file has them."""

    def __init__(self, problems: validation.Violations, found: Mapping[str, Any]) -> None:
        self.problems = problems
        self._found = found

    def has(self, name: str) -> bool:
        return name in self._found

    def is_null(self, name: str) -> bool:
        return self._found[name] is None

    def text(self, name: str) -> str:
        """Return a text; empty when it is not there."""
        found = self._found.get(name, "")
        if isinstance(found, str):
            try:
                found.encode()
            except UnicodeEncodeError:
                pass
            else:
                return found
        self.problems.add(name, "must be a text")
        return ""

    def flag(self, name: str) -> bool:
        found = self._found.get(name, False)
        if not isinstance(found, bool):
            self.problems.add(name, "must be true or false")
        return found is True

    def time(self, name: str) -> datetime:
        try:
            return _to_time(self._found[name])
        except (KeyError, TypeError, ValueError):
            self.problems.add(name, "must be a time with milliseconds in UTC, such as 2026-01-02T12:00:00.000Z")
            return datetime.now(UTC)


def _record(
    reading: _Reading, rules: ValueRules, *, metadata: Mapping[str, str], exact: bool, now: datetime | None = None
) -> ContactMethod:
    problems = reading.problems
    client_id = validation.client_id(problems, "client_id", reading.text("client_id"))
    try:
        type_ = ContactMethodType(reading.text("type").lower())
    except ValueError:
        problems.add("type", f"must be one of {', '.join(ContactMethodType)}")
        type_ = ContactMethodType.OTHER
    text = validation.value(problems, "value", reading.text("value"))
    value = ContactValue(text, None)
    if reading.has("normalized_value"):
        stored = None if reading.is_null("normalized_value") else reading.text("normalized_value")
        if stored is not None:
            validation.text(problems, "normalized_value", stored, at_most=validation.MAX_NORMALIZED_LENGTH)
        value = ContactValue(text, stored)
    elif not problems.has("value") and not problems.has("type"):
        try:
            value = rules.read(type_, text)
        except InvalidValue as error:
            problems.add("value", str(error))
    label = validation.label(problems, "label", reading.text("label"))
    external_id = reading.text("external_id") or None
    if external_id is not None:
        validation.external_id(problems, "external_id", external_id)
    pairs = validation.metadata(problems, "metadata", metadata)
    is_primary = reading.flag("is_primary")
    if exact:
        id_ = validation.contact_method_id(problems, "id", reading.text("id"))
        created_at, updated_at = reading.time("created_at"), reading.time("updated_at")
        verified_at = reading.time("verified_at") if reading.has("verified_at") else None
    else:
        id_ = listed_id(client_id, type_, value, external_id)
        created_at = updated_at = now or datetime.now(UTC)
        verified_at = None
    problems.raise_if_any()
    return ContactMethod(
        id=id_,
        client_id=client_id,
        type=type_,
        value=value,
        label=label,
        is_primary=is_primary,
        verified_at=verified_at,
        external_id=external_id,
        metadata=pairs,
        created_at=created_at,
        updated_at=updated_at,
        etag="",
    )


def listed_id(client_id: str, type_: ContactMethodType, value: ContactValue, external_id: str | None) -> str:
    """Return the id of a record of a list: always the same one for the same record."""
    of = [external_id] if external_id is not None else [client_id, type_.value, value.normalized or value.text]
    number = int.from_bytes(hashlib.sha256(json.dumps(of).encode()).digest()[:16])
    return id_of_number(number)


def _pairs(problems: validation.Violations, found: Any) -> dict[str, str]:
    if not isinstance(found, dict) or not all(isinstance(value, str) for value in found.values()):
        problems.add("metadata", "must be a JSON object of texts")
        return {}
    try:
        "".join((*found, *found.values())).encode()
    except UnicodeEncodeError:
        problems.add("metadata", "must be a JSON object of texts")
        return {}
    return found


def _bool(problems: validation.Violations, name: str, cell: str) -> bool:
    try:
        return parse_bool(cell)
    except ValueError as error:
        problems.add(name, str(error))
        return False


def _line(found: Mapping[str, Any]) -> bytes:
    return json.dumps(found, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def _from_time(time: datetime) -> str:
    return time.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _to_time(text: str) -> datetime:
    time = datetime.fromisoformat(text)
    if time.utcoffset() is None or time.microsecond % 1000:
        raise ValueError
    try:
        return time.astimezone(UTC)
    except OverflowError:
        # In UTC it is before year 1, or after year 9999.
        raise ValueError from None
