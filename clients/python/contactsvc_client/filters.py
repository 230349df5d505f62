"""Filters and sort orders, and the messages made from them."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, TypedDict, TypeVar

from google.protobuf.timestamp_pb2 import Timestamp

from contactsvc.v1 import contact_methods_pb2 as pb
from contactsvc_client.errors import Issue, ValidationError
from contactsvc_client.records import TYPE_NUMBERS, ContactMethodType

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class OneOf(Generic[T]):
    """A condition that matches any of several values; made by `one_of`."""

    values: tuple[T, ...]


@dataclass(frozen=True, slots=True)
class Contains:
    """A condition that matches part of a value; made by `contains`."""

    text: str


def one_of(*values: T) -> OneOf[T]:
    """Return the condition that a field has one of these values, at most 250."""
    return OneOf(values)


def contains(text: str) -> Contains:
    """Return the condition that a value contains this text, which is literal and case-sensitive.

    Digits are found in numbers regardless of punctuation, and texts without blanks in emails regardless of case.
    """
    return Contains(text)


class Filter(TypedDict, total=False):
    """Conditions on records, all of which must hold. A field with several values matches any of them."""

    id: str | OneOf[str] | Sequence[str]
    client_id: str | OneOf[str] | Sequence[str]
    type: str | OneOf[str] | Sequence[str]
    value: str | OneOf[str] | Sequence[str] | Contains
    label: str | OneOf[str] | Sequence[str]
    external_id: str | OneOf[str] | Sequence[str]
    is_primary: bool
    is_verified: bool
    metadata: Mapping[str, str]
    created_at_or_after: datetime
    created_before: datetime
    updated_at_or_after: datetime
    updated_before: datetime


Sort = str | Sequence[str]
"""`created_at` or `updated_at`, with a leading `-` for latest first; or several of them."""

_REPEATED = {
    "id": "ids",
    "client_id": "client_ids",
    "type": "types",
    "value": "values",
    "label": "labels",
    "external_id": "external_ids",
}
_PLAIN = ("is_primary", "is_verified", "metadata")
_TIMES = ("created_at_or_after", "created_before", "updated_at_or_after", "updated_before")
_SORT_FIELDS = {
    "created_at": pb.CONTACT_METHOD_SORT_FIELD_CREATED_AT,
    "updated_at": pb.CONTACT_METHOD_SORT_FIELD_UPDATED_AT,
}


def invalid(field: str, description: str) -> ValidationError:
    """Return the exception for an invalid argument."""
    return ValidationError(f"{field}: {description}", reason="INVALID_FIELD", issues=[Issue(field, description)])


def type_number(field: str, type_: str) -> Any:
    """Return the enum number of a type; raise ValidationError for an unknown name."""
    try:
        return TYPE_NUMBERS[ContactMethodType(type_)]
    except ValueError:
        raise invalid(field, f"must be one of {', '.join(ContactMethodType)}") from None


def filter_message(asked: Filter | Mapping[str, Any] | None) -> pb.ContactMethodFilter | None:
    """Return the message of a filter; raise ValidationError for an invalid condition."""
    if asked is None:
        return None
    if not isinstance(asked, Mapping):
        raise invalid("filter", "must be a dictionary")
    fields: dict[str, Any] = {}
    for name, wanted in asked.items():
        path = f"filter.{name}"
        if wanted is None and name in (*_REPEATED, *_PLAIN, *_TIMES):
            # As for every other argument, None means omitted.
            continue
        if isinstance(wanted, Contains):
            if name != "value":
                raise invalid(path, "does not support contains(); only value does")
            fields["value_contains"] = wanted.text
        elif name in _REPEATED:
            fields[_REPEATED[name]] = _values(name, path, wanted)
        elif name in _TIMES:
            fields[name] = timestamp(path, wanted)
        elif name in _PLAIN:
            fields[name] = wanted
        else:
            near = difflib.get_close_matches(name, [*_REPEATED, *_PLAIN, *_TIMES], 1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise invalid(path, f"is not a filter field{hint}")
    made: pb.ContactMethodFilter = message(pb.ContactMethodFilter, "filter", fields)
    return made


def sort_messages(asked: Sort | None) -> list[pb.ContactMethodSort]:
    """Return the messages of a sort order."""
    keys = [] if asked is None else asked if isinstance(asked, (list, tuple)) else [asked]
    messages = []
    for key in keys:
        if not isinstance(key, str) or key.removeprefix("-") not in _SORT_FIELDS:
            raise invalid("sort", "must be created_at or updated_at, with a leading - for latest first")
        field = _SORT_FIELDS[key.removeprefix("-")]
        messages.append(pb.ContactMethodSort(field=field, descending=key.startswith("-")))
    return messages


def message(kind: Any, where: str, fields: Mapping[str, Any]) -> Any:
    """Return a message; raise ValidationError, without the value, for a field of the wrong Python type."""
    try:
        return kind(**fields)
    except (TypeError, ValueError) as error:
        for name, value in fields.items():
            try:
                kind(**{name: value})
            except (TypeError, ValueError):
                raise invalid(f"{where}.{name}" if where else name, "has the wrong type") from error
        raise


def _values(name: str, path: str, wanted: Any) -> list[Any]:
    if isinstance(wanted, OneOf):
        wanted = wanted.values
    values = [wanted] if isinstance(wanted, str) or not isinstance(wanted, Iterable) else list(wanted)
    if not values:
        # The service reads an empty list as no condition; the caller means that nothing matches.
        raise invalid(path, "must have at least one value")
    return [type_number(path, value) for value in values] if name == "type" else values


def timestamp(path: str, time: object) -> Timestamp:
    """Return the message of a time; raise ValidationError for one without a time zone."""
    if not isinstance(time, datetime) or time.tzinfo is None:
        raise invalid(path, "must be a datetime with a time zone")
    stamp = Timestamp()
    stamp.FromDatetime(time)
    return stamp
