"""Filters and orders of lists: protobuf -> domain."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from google.protobuf.timestamp_pb2 import Timestamp

from contactsvc.domain import validation
from contactsvc.domain.clock import EPOCH
from contactsvc.domain.kinds import ContactMethodType
from contactsvc.domain.listing import OLDEST_FIRST, Filter, SortKey, TimeRange
from contactsvc.domain.normalization import InvalidValue, ValueRules, written_form
from contactsvc.domain.validation import Violations
from contactsvc.rpc.enums import SORT_FIELDS
from contactsvc.rpc.patches import parse_type
from contactsvc.v1 import contact_methods_pb2 as pb

# Of the year 9999, the last that a Timestamp and a datetime have.
_LAST_SECOND = 253_402_300_799
_ALL_TIMES = TimeRange()


def parse_filter(violations: Violations, path: str, asked: pb.ContactMethodFilter, rules: ValueRules) -> Filter:
    """Read a filter; values are compared under `rules`."""
    types = tuple(
        type_
        for position, number in enumerate(asked.types)
        if (type_ := parse_type(violations, f"{path}.types[{position}]", number))
    )
    validation.count(violations, f"{path}.types", asked.types, at_most=validation.MAX_FILTER_VALUES)
    contains = asked.value_contains
    if contains:
        validation.text(violations, f"{path}.value_contains", contains, at_most=validation.MAX_VALUE_LENGTH)
    values, written_values = _sought_values(violations, f"{path}.values", types, asked.values, rules)
    return Filter(
        ids=validation.texts(violations, f"{path}.ids", asked.ids, validation.contact_method_id),
        client_ids=validation.texts(violations, f"{path}.client_ids", asked.client_ids, validation.client_id),
        types=types,
        values=values,
        written_values=written_values,
        value_contains=contains,
        is_primary=asked.is_primary if asked.HasField("is_primary") else None,
        is_verified=asked.is_verified if asked.HasField("is_verified") else None,
        external_ids=validation.texts(violations, f"{path}.external_ids", asked.external_ids, validation.external_id),
        labels=validation.texts(violations, f"{path}.labels", asked.labels, _sought_label),
        metadata=validation.metadata(violations, f"{path}.metadata", asked.metadata),
        created=_time_range(violations, path, asked, "created_at_or_after", "created_before"),
        updated=_time_range(violations, path, asked, "updated_at_or_after", "updated_before"),
    )


def parse_sort(violations: Violations, path: str, raw: Sequence[pb.ContactMethodSort]) -> tuple[SortKey, ...]:
    """Read an order; none is the default."""
    keys: list[SortKey] = []
    for position, asked in enumerate(raw):
        field = SORT_FIELDS.get(asked.field)
        if field is None:
            violations.add(f"{path}[{position}].field", "must be CONTACT_METHOD_SORT_FIELD_CREATED_AT or _UPDATED_AT")
        elif any(key.field is field for key in keys):
            violations.add(f"{path}[{position}].field", "must not be named twice")
        else:
            keys.append(SortKey(field, asked.descending))
    return tuple(keys) or OLDEST_FIRST


_Pairs = tuple[tuple[ContactMethodType, str], ...]


def _sought_values(
    violations: Violations, path: str, types: Sequence[ContactMethodType], raw: Sequence[str], rules: ValueRules
) -> tuple[_Pairs | None, _Pairs]:
    """Return the normal forms and the written forms of the values asked for; None and nothing when none are."""
    if not raw:
        return None, ()
    texts = validation.texts(violations, path, raw, validation.value)
    normalized, written = [], []
    for text in texts if not violations.has(path) else ():
        for type_ in types or ContactMethodType:
            written.append((type_, written_form(text)))
            try:
                normalized.append((type_, rules.normalize(type_, text)))
            except InvalidValue:
                # No readable value of this type equals the text.
                continue
    return tuple(normalized), tuple(written)


def _sought_label(violations: Violations, path: str, raw: str) -> str:
    if not raw:
        violations.add(path, "must not be empty")
    return validation.label(violations, path, raw) or ""


def _time_range(
    violations: Violations, path: str, asked: pb.ContactMethodFilter, at_or_after: str, before: str
) -> TimeRange:
    if not (asked.HasField(at_or_after) or asked.HasField(before)):
        return _ALL_TIMES
    return TimeRange(
        at_or_after=parse_time(violations, f"{path}.{at_or_after}", getattr(asked, at_or_after))
        if asked.HasField(at_or_after)
        else None,
        before=parse_time(violations, f"{path}.{before}", getattr(asked, before)) if asked.HasField(before) else None,
    )


def parse_time(violations: Violations, path: str, raw: Timestamp) -> datetime | None:
    """Read a time; None, and a violation, where no datetime can say it."""
    # Rounded up: stored times have milliseconds, and `>= 10.0005 s` and `< 10.0005 s` both divide them at 10.001 s.
    try:
        return EPOCH + timedelta(milliseconds=raw.seconds * 1000 - (-raw.nanos // 1_000_000))
    except OverflowError:
        if raw.seconds == _LAST_SECOND:
            return datetime.max.replace(tzinfo=UTC)
        violations.add(path, "must be a time between the years 1 and 9999")
        return None
