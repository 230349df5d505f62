"""Messages from the arguments of callers."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp

from contactsvc_client._errors import invalid
from contactsvc_client._records import TYPE_NUMBERS, ContactMethodType


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


def type_number(field: str, type_: Any) -> int:
    """Return the enum number of a type; raise ValidationError for an unknown name."""
    try:
        return TYPE_NUMBERS[ContactMethodType(type_)]
    except ValueError:
        raise invalid(field, f"must be one of {', '.join(ContactMethodType)}") from None


def timestamp(path: str, time: object) -> Timestamp:
    """Return the message of a time; raise ValidationError for one without a time zone."""
    if not isinstance(time, datetime) or time.tzinfo is None:
        raise invalid(path, "must be a datetime with a time zone")
    stamp = Timestamp()
    stamp.FromDatetime(time)
    return stamp


def suggestion(name: object, known: Iterable[str]) -> str:
    """Return the end of a message about an unknown name: the nearest known one, or nothing."""
    near = difflib.get_close_matches(str(name), list(known), 1)
    return f"; did you mean {near[0]}?" if near else ""
