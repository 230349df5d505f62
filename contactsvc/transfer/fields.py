"""The fields of a contact method in a file: how each one is written, read and checked.

`FIELDS` is the only table: JSON Lines and CSV are written and read from it, so that a new optional field is one line
here. The rules of each value are in domain/validation.py and domain/normalization/.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache, partial
from typing import Any, Final

from contactsvc.config import parse_bool
from contactsvc.domain import validation
from contactsvc.domain.contact_method import ContactMethod
from contactsvc.domain.ids import id_of_number
from contactsvc.domain.kinds import UNSET, ContactMethodType, ContactValue
from contactsvc.domain.normalization import InvalidValue, ValueRules
from contactsvc.domain.validation import Violations
from contactsvc.errors import InvalidFields
from contactsvc.transfer.sources import Row


def format_time(time: datetime) -> str:
    """Return a time in UTC with milliseconds (RFC 3339)."""
    return time.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def parse_time(text: str) -> datetime:
    """Return a time in UTC; raise ValueError unless it has an offset and no digits beyond milliseconds."""
    time = datetime.fromisoformat(text)
    if time.utcoffset() is None or time.microsecond % 1000:
        raise ValueError
    try:
        return time.astimezone(UTC)
    except OverflowError:
        # Before year 1 or after year 9999 in UTC.
        raise ValueError from None


def _optional_time(time: datetime | None) -> str | None:
    return None if time is None else format_time(time)


# Each reader takes the JSON value of a field, UNSET when the file has none. It adds violations, and what it returns
# after a violation is never used.


def _text(problems: Violations, name: str, found: Any) -> str:
    if found is UNSET:
        return ""
    if isinstance(found, str) and _is_unicode(found):
        return found
    problems.add(name, "must be a string")
    return ""


def _client_id(problems: Violations, name: str, found: Any) -> str:
    return validation.client_id(problems, name, _text(problems, name, found))


def _contact_method_id(problems: Violations, name: str, found: Any) -> str:
    return validation.contact_method_id(problems, name, _text(problems, name, found))


def _type(problems: Violations, name: str, found: Any) -> ContactMethodType:
    try:
        return ContactMethodType(_text(problems, name, found).lower())
    except ValueError:
        problems.add(name, f"must be one of {', '.join(ContactMethodType)}")
        return ContactMethodType.OTHER


def _value_text(problems: Violations, name: str, found: Any) -> str:
    return validation.value(problems, name, _text(problems, name, found))


def _normalized_value(problems: Violations, name: str, found: Any) -> Any:
    """Return a stored normalized value, None when the value has none, or UNSET to derive it."""
    if found is UNSET or found is None:
        return found
    text = _text(problems, name, found)
    return validation.text(problems, name, text, at_most=validation.MAX_NORMALIZED_LENGTH)


def _label(problems: Violations, name: str, found: Any) -> str | None:
    return validation.label(problems, name, _text(problems, name, found))


def _external_id(problems: Violations, name: str, found: Any) -> str | None:
    text = _text(problems, name, found)
    return validation.external_id(problems, name, text) if text else None


def _method(problems: Violations, name: str, found: Any) -> str | None:
    if found is UNSET:
        return None
    return validation.verification_method(problems, name, _text(problems, name, found))


def _flag(problems: Violations, name: str, found: Any) -> bool:
    if found is UNSET:
        return False
    if not isinstance(found, bool):
        problems.add(name, "must be true or false")
    return found is True


def _metadata(problems: Violations, name: str, found: Any) -> dict[str, str]:
    if found is UNSET:
        return {}
    if (
        isinstance(found, dict)
        and all(isinstance(value, str) for value in found.values())
        and _is_unicode("".join((*found, *found.values())))
    ):
        return validation.metadata(problems, name, found)
    problems.add(name, "must be a JSON object with string values")
    return {}


def _time(problems: Violations, name: str, found: Any) -> datetime:
    try:
        return parse_time(found)
    except (TypeError, ValueError):
        problems.add(name, "must be a time with an offset and at most milliseconds, such as 2026-01-02T12:00:00.000Z")
        return datetime.now(UTC)


def _time_if_any(problems: Violations, name: str, found: Any) -> datetime | None:
    return None if found is UNSET else _time(problems, name, found)


def _is_unicode(text: str) -> bool:
    """Return whether the text can be encoded: JSON escapes may hold half of a surrogate pair."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _flag_of_cell(cell: str) -> object:
    try:
        return parse_bool(cell)
    except ValueError:
        return cell


def _json_of_cell(cell: str) -> object:
    try:
        return json.loads(cell)
    except (ValueError, RecursionError):
        return None


@dataclass(frozen=True, slots=True)
class TransferField:
    """A field of a contact method in a file.

    Attributes:
        name: the key in JSON Lines, the column in CSV and, except for `normalized_value`, the attribute.
        column: the position in an exported CSV; None for a field that CSV does not have.
        write: returns the JSON value; None means that there is none.
        read: checks a JSON value (UNSET: none in the file) and returns the attribute.
        from_cell: returns the JSON value of a CSV cell that is not empty.
        is_set_by_service: whether an import of CSV ignores it.
        writes_null: whether None is written as null instead of being left out.
    """

    name: str
    column: int | None
    write: Callable[[ContactMethod], Any]
    read: Callable[[Violations, str, Any], Any]
    from_cell: Callable[[str], object] = str
    is_set_by_service: bool = False
    writes_null: bool = False


_by_service = partial(TransferField, is_set_by_service=True)

# In the order of the keys in JSON Lines. Keys and columns keep the order of release 0.1.0; new ones go to the end.
FIELDS: Final = (
    _by_service("id", 0, lambda record: record.id, _contact_method_id),
    TransferField("client_id", 5, lambda record: record.client_id, _client_id),
    TransferField("type", 6, lambda record: record.type.value, _type),
    TransferField("value", 7, lambda record: record.value.text, _value_text),
    _by_service("normalized_value", 1, lambda record: record.value.normalized, _normalized_value, writes_null=True),
    TransferField("is_primary", 9, lambda record: record.is_primary, _flag, _flag_of_cell),
    TransferField("metadata", 11, lambda record: dict(record.metadata), _metadata, _json_of_cell),
    _by_service("created_at", 3, lambda record: format_time(record.created_at), _time),
    _by_service("updated_at", 4, lambda record: format_time(record.updated_at), _time),
    TransferField("label", 8, lambda record: record.label, _label),
    TransferField("external_id", 10, lambda record: record.external_id, _external_id),
    _by_service("verified_at", 2, lambda record: _optional_time(record.verified_at), _time_if_any),
    _by_service("verification_method", None, lambda record: record.verification_method, _method),
)

BY_NAME: Final = {field.name: field for field in FIELDS}
COLUMNS: Final = tuple(
    sorted((field for field in FIELDS if field.column is not None), key=lambda field: field.column or 0)
)
"""The fields in the order of an exported CSV."""
GIVEN: Final = tuple(field for field in FIELDS if not field.is_set_by_service)
"""The fields that an import of CSV reads."""
_BLANK: Final[Mapping[str, Any]] = {
    field.name: None for field in FIELDS if field.is_set_by_service and field.name != "normalized_value"
}


def to_json(record: ContactMethod) -> dict[str, Any]:
    """Return the fields of a record as a JSON object."""
    return {field.name: value for field in FIELDS if (value := field.write(record)) is not None or field.writes_null}


def restored_record(problems: Violations, found: Mapping[str, Any], rules: ValueRules) -> ContactMethod:
    """Return the record of an export, with its id, times and verification.

    A normalized value is kept as it was stored, even when the rules have changed since: `contactsvc doctor` reports and
    repairs it. Without one the rules derive it.

    Args:
        problems: collects the violations; raised here if there are any.
        found: JSON values by the name of their field.
        rules: how values are read.

    Raises:
        InvalidFields: a field breaks a rule.
    """
    fields = _read(problems, found, FIELDS)
    fields["value"] = _value(problems, fields, rules)
    problems.raise_if_any()
    return ContactMethod(**fields, etag="")


def listed_record(problems: Violations, found: Mapping[str, Any], rules: ValueRules, *, now: datetime) -> ContactMethod:
    """Return a new record from the fields that a caller may set; arguments and errors as in `listed_row`.

    Raises:
        InvalidFields: a field breaks a rule, or the value cannot be read.
    """
    row = listed_row(problems, found, rules, now=now)
    if row.refusal is not None:
        raise InvalidFields([row.refusal])
    return row.record


def listed_row(problems: Violations, found: Mapping[str, Any], rules: ValueRules, *, now: datetime) -> Row:
    """Return the row of a list from the fields that a caller may set.

    Args:
        problems: collects the violations; raised here if there are any.
        found: JSON values by the name of their field.
        rules: how values are read. A value that they cannot read is the `refusal` of the row.
        now: the time of creation.

    Raises:
        InvalidFields: a field breaks a rule.
    """
    fields = _read(problems, found, GIVEN)
    unread = Violations()
    fields["value"] = value = (
        ContactValue(fields["value"], None)
        if problems.has("value") or problems.has("type")
        else _read_value(unread, fields["type"], fields["value"], rules)
    )
    refused = unread.error()
    if refused is not None and (others := problems.error()) is not None:
        raise InvalidFields([*others.violations, *refused.violations])
    problems.raise_if_any()
    id_ = derived_id(fields["client_id"], fields["type"], value.text, fields["external_id"])
    record = ContactMethod(**{**_BLANK, **fields, "id": id_, "created_at": now, "updated_at": now}, etag="")
    return Row(record=record, is_restore=False, refusal=None if refused is None else refused.violations[0])


def derived_id(client_id: str, type_: ContactMethodType, text: str, external_id: str | None) -> str:
    """Return the id of a new record of a list: the same for the same row, so that an import can be repeated.

    It is made from the text of the value, and not from its normal form, which depends on the default region and on the
    version of phonenumbers.
    """
    return _id_of(*([external_id] if external_id is not None else ["text", client_id, type_.value, text]))


def derived_id_0_1_0(record: ContactMethod) -> str:
    """Return the id that release 0.1.0 derived for a row of a list without external id."""
    return _id_of(record.client_id, record.type.value, record.value.normalized or record.value.text)


# An import asks several times for the ids of the rows of a batch.
@lru_cache(maxsize=1_024)
def _id_of(*key: str) -> str:
    return id_of_number(int.from_bytes(hashlib.sha256(json.dumps(key).encode()).digest()[:16]))


def _read(problems: Violations, found: Mapping[str, Any], fields: Iterable[TransferField]) -> dict[str, Any]:
    return {field.name: field.read(problems, field.name, found.get(field.name, UNSET)) for field in fields}


def _value(problems: Violations, fields: dict[str, Any], rules: ValueRules) -> ContactValue:
    """Take value and normalized value out of the fields, and return them as one."""
    text, stored = fields.pop("value"), fields.pop("normalized_value", UNSET)
    if stored is not UNSET:
        return ContactValue(text, stored)
    if problems.has("value") or problems.has("type"):
        return ContactValue(text, None)
    return _read_value(problems, fields["type"], text, rules)


def _read_value(problems: Violations, type_: ContactMethodType, text: str, rules: ValueRules) -> ContactValue:
    try:
        return rules.read(type_, text)
    except InvalidValue as error:
        problems.add("value", str(error))
        return ContactValue(text, None)
