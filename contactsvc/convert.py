"""Protobuf <-> domain, both directions side by side, and the shape of requests.

"Parse, don't validate": what a `parse_` method returns is valid as far as it can be told without the database, and
what it finds wrong it reports all at once. The rules of single fields stand in domain/fields.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from google.protobuf.timestamp_pb2 import Timestamp

from contactsvc import statuses
from contactsvc.domain import fields
from contactsvc.domain.contact_method import (
    UNSET,
    ContactMethod,
    ContactMethodChange,
    ContactMethodType,
    ContactValue,
    MetadataChange,
    NewContactMethod,
    Slot,
    Unset,
)
from contactsvc.domain.fields import Problems
from contactsvc.domain.listing import OLDEST_FIRST, Filter, Listing, Page, SortField, SortKey, TimeRange
from contactsvc.domain.primary import PrimaryDeletePolicy
from contactsvc.domain.values import InvalidValue, ValueRules
from contactsvc.errors import ContactsvcError, InvalidFields
from contactsvc.service import Written
from contactsvc.v1 import contact_methods_pb2 as pb

RequestT = TypeVar("RequestT")
ItemT = TypeVar("ItemT")

_TYPES = {
    pb.CONTACT_METHOD_TYPE_EMAIL: ContactMethodType.EMAIL,
    pb.CONTACT_METHOD_TYPE_PHONE: ContactMethodType.PHONE,
    pb.CONTACT_METHOD_TYPE_FAX: ContactMethodType.FAX,
    pb.CONTACT_METHOD_TYPE_OTHER: ContactMethodType.OTHER,
}
_TYPE_NUMBERS = {type_: number for number, type_ in _TYPES.items()}
_SORT_FIELDS = {
    pb.CONTACT_METHOD_SORT_FIELD_CREATED_AT: SortField.CREATED_AT,
    pb.CONTACT_METHOD_SORT_FIELD_UPDATED_AT: SortField.UPDATED_AT,
}
_DELETE_POLICIES = {
    pb.PRIMARY_DELETE_POLICY_UNSPECIFIED: PrimaryDeletePolicy.LEAVE_NONE,
    pb.PRIMARY_DELETE_POLICY_PROMOTE_NEXT: PrimaryDeletePolicy.PROMOTE_NEXT,
    pb.PRIMARY_DELETE_POLICY_REJECT: PrimaryDeletePolicy.REJECT,
}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class DeleteCommand:
    """A valid request to delete."""

    id: str
    policy: PrimaryDeletePolicy
    allow_missing: bool


@dataclass(frozen=True, slots=True)
class MetadataLookup:
    """A valid request for the record that carries a pair."""

    key: str
    value: str
    client_id: str | None


class RequestParser:
    """Protobuf -> domain, under this server's rules for values."""

    def __init__(self, rules: ValueRules) -> None:
        self._rules = rules

    def parse_new(self, request: pb.CreateContactMethodRequest) -> NewContactMethod:
        """Read a request to create."""
        problems = Problems()
        type_ = _type(problems, "type", request.type)
        new = NewContactMethod(
            client_id=fields.client_id(problems, "client_id", request.client_id),
            type=type_ or ContactMethodType.OTHER,
            value=self._value(problems, "value", type_, request.value),
            label=fields.label(problems, "label", request.label),
            is_primary=request.is_primary,
            external_id=fields.external_id(problems, "external_id", request.external_id)
            if request.HasField("external_id")
            else None,
            metadata=fields.metadata(problems, "metadata", request.metadata),
        )
        problems.raise_if_any()
        return new

    def parse_id(self, request: pb.GetContactMethodRequest) -> str:
        """Read a request for a record by its id."""
        problems = Problems()
        id_ = fields.contact_method_id(problems, "id", request.id)
        problems.raise_if_any()
        return id_

    def parse_external_id(self, request: pb.GetContactMethodByExternalIdRequest) -> str:
        """Read a request for a record by its external id."""
        problems = Problems()
        external_id = fields.external_id(problems, "external_id", request.external_id)
        problems.raise_if_any()
        return external_id

    def parse_metadata_lookup(self, request: pb.GetContactMethodByMetadataRequest) -> MetadataLookup:
        """Read a request for a record by a pair."""
        problems = Problems()
        lookup = MetadataLookup(
            key=fields.metadata_key(problems, "key", request.key),
            value=fields.metadata_value(problems, "value", request.value),
            client_id=fields.client_id(problems, "client_id", request.client_id)
            if request.HasField("client_id")
            else None,
        )
        problems.raise_if_any()
        return lookup

    def parse_slot(self, request: pb.GetPrimaryContactMethodRequest) -> Slot:
        """Read a request for a primary."""
        problems = Problems()
        client_id = fields.client_id(problems, "client_id", request.client_id)
        type_ = _type(problems, "type", request.type)
        problems.raise_if_any()
        return client_id, type_ or ContactMethodType.OTHER

    def parse_listing(self, request: pb.ListContactMethodsRequest) -> Listing:
        """Read a request for a page."""
        problems = Problems()
        if request.page_token and request.offset:
            problems.add("offset", "cannot be combined with page_token")
        listing = Listing(
            filter=self._filter(problems, "filter", request.filter),
            sort=_sort(problems, "sort", request.sort),
            page_size=fields.page_size(problems, "page_size", request.page_size),
            page_token=request.page_token,
            offset=fields.not_negative(problems, "offset", request.offset),
            include_total_size=request.include_total_size,
        )
        problems.raise_if_any()
        return listing

    def parse_client_listing(self, request: pb.ListClientContactMethodsRequest) -> Listing:
        """Read a request for a page of one client."""
        problems = Problems()
        client_id = fields.client_id(problems, "client_id", request.client_id)
        type_ = _type(problems, "type", request.type) if request.HasField("type") else None
        listing = Listing(
            filter=Filter(client_ids=(client_id,), types=(type_,) if type_ else ()),
            page_size=fields.page_size(problems, "page_size", request.page_size),
            page_token=request.page_token,
        )
        problems.raise_if_any()
        return listing

    def parse_change(self, request: pb.UpdateContactMethodRequest) -> tuple[str, ContactMethodChange]:
        """Read a request to update: which record, and what to change."""
        problems = Problems()
        id_ = fields.contact_method_id(problems, "id", request.id)
        type_ = _type(problems, "type", request.type) if request.HasField("type") else UNSET
        change = ContactMethodChange(
            type=UNSET if type_ is None else type_,
            value=fields.value(problems, "value", request.value) if request.HasField("value") else UNSET,
            label=fields.label(problems, "label", request.label) if request.HasField("label") else UNSET,
            is_primary=request.is_primary if request.HasField("is_primary") else UNSET,
            external_id=(
                fields.external_id(problems, "external_id", request.external_id) if request.external_id else None
            )
            if request.HasField("external_id")
            else UNSET,
            metadata=_metadata_change(problems, request),
        )
        problems.raise_if_any()
        return id_, change

    def parse_delete(self, request: pb.DeleteContactMethodRequest) -> DeleteCommand:
        """Read a request to delete."""
        problems = Problems()
        id_ = fields.contact_method_id(problems, "id", request.id)
        policy = _DELETE_POLICIES.get(request.on_primary)
        if policy is None:
            problems.add("on_primary", "must be a value of PrimaryDeletePolicy")
        problems.raise_if_any()
        return DeleteCommand(id_, policy or PrimaryDeletePolicy.LEAVE_NONE, request.allow_missing)

    def parse_batch_create(
        self, request: pb.BatchCreateContactMethodsRequest
    ) -> list[NewContactMethod | InvalidFields]:
        """Read a batch of requests to create; each item is parsed, or is what is wrong with it."""
        return _items("requests", request.requests, self.parse_new)

    def _value(self, problems: Problems, path: str, type_: ContactMethodType | None, raw: str) -> ContactValue:
        text = fields.value(problems, path, raw)
        if type_ is None or not text or problems.has(path):
            # Without a type, or with a text that is none, there is nothing to read.
            return ContactValue(text, None)
        try:
            return self._rules.read(type_, text)
        except InvalidValue as error:
            problems.add(path, str(error))
            return ContactValue(text, None)

    def _filter(self, problems: Problems, path: str, asked: pb.ContactMethodFilter) -> Filter:
        types = tuple(
            type_
            for position, number in enumerate(asked.types)
            if (type_ := _type(problems, f"{path}.types[{position}]", number))
        )
        fields.count(problems, f"{path}.types", asked.types, at_most=fields.MAX_FILTER_VALUES)
        contains = asked.value_contains
        if contains:
            fields.text(problems, f"{path}.value_contains", contains, at_most=fields.MAX_VALUE_LENGTH)
        return Filter(
            ids=_texts(problems, f"{path}.ids", asked.ids, fields.contact_method_id),
            client_ids=_texts(problems, f"{path}.client_ids", asked.client_ids, fields.client_id),
            types=types,
            values=self._sought_values(problems, f"{path}.values", types, asked.values),
            value_contains=contains,
            is_primary=asked.is_primary if asked.HasField("is_primary") else None,
            is_verified=asked.is_verified if asked.HasField("is_verified") else None,
            external_ids=_texts(problems, f"{path}.external_ids", asked.external_ids, fields.external_id),
            labels=_texts(problems, f"{path}.labels", asked.labels, _sought_label),
            metadata=fields.metadata(problems, f"{path}.metadata", asked.metadata),
            created=_time_range(problems, path, asked, "created_at_or_after", "created_before"),
            updated=_time_range(problems, path, asked, "updated_at_or_after", "updated_before"),
        )

    def _sought_values(
        self, problems: Problems, path: str, types: Sequence[ContactMethodType], raw: Sequence[str]
    ) -> tuple[tuple[ContactMethodType, str], ...] | None:
        """Return the normalized forms under which the values may be stored; None when none are asked for."""
        if not raw:
            return None
        texts = _texts(problems, path, raw, fields.value)
        sought = []
        for text in texts if not problems.has(path) else ():
            for type_ in types or ContactMethodType:
                try:
                    sought.append((type_, self._rules.normalize(type_, text)))
                except InvalidValue:
                    # No record of this type can have the value; of another it may.
                    continue
        return tuple(sought)


def created(written: Written) -> pb.CreateContactMethodResponse:
    """Return the answer to a create."""
    return pb.CreateContactMethodResponse(
        contact_method=to_proto(written.contact_method), demoted_ids=written.demoted_ids
    )


def updated(written: Written) -> pb.UpdateContactMethodResponse:
    """Return the answer to an update."""
    return pb.UpdateContactMethodResponse(
        contact_method=to_proto(written.contact_method), demoted_ids=written.demoted_ids
    )


def deleted(promoted_id: str | None) -> pb.DeleteContactMethodResponse:
    """Return the answer to a delete."""
    return pb.DeleteContactMethodResponse(promoted_id=promoted_id)


def primary(record: ContactMethod | None) -> pb.GetPrimaryContactMethodResponse:
    """Return the answer to the question for a primary."""
    return pb.GetPrimaryContactMethodResponse(contact_method=None if record is None else to_proto(record))


def listed(page: Page) -> pb.ListContactMethodsResponse:
    """Return the answer with a page."""
    return pb.ListContactMethodsResponse(
        contact_methods=map(to_proto, page.contact_methods),
        next_page_token=page.next_page_token,
        total_size=page.total_size,
    )


def client_listed(page: Page) -> pb.ListClientContactMethodsResponse:
    """Return the answer with a page of one client."""
    return pb.ListClientContactMethodsResponse(
        contact_methods=map(to_proto, page.contact_methods), next_page_token=page.next_page_token
    )


def batch_created(outcomes: Iterable[Written | ContactsvcError]) -> pb.BatchCreateContactMethodsResponse:
    """Return the answer to a batch of creates."""
    return pb.BatchCreateContactMethodsResponse(
        results=[
            pb.BatchCreateContactMethodsResult(error=_batch_error(outcome))
            if isinstance(outcome, ContactsvcError)
            else pb.BatchCreateContactMethodsResult(
                contact_method=to_proto(outcome.contact_method), demoted_ids=outcome.demoted_ids
            )
            for outcome in outcomes
        ]
    )


def to_proto(record: ContactMethod) -> pb.ContactMethod:
    """Return the message of a record."""
    return pb.ContactMethod(
        id=record.id,
        client_id=record.client_id,
        type=_TYPE_NUMBERS[record.type],
        value=record.value.text,
        normalized_value=record.value.normalized or "",
        label=record.label,
        is_primary=record.is_primary,
        is_verified=record.verified_at is not None,
        verified_at=None if record.verified_at is None else _timestamp(record.verified_at),
        external_id=record.external_id,
        metadata=record.metadata,
        created_at=_timestamp(record.created_at),
        updated_at=_timestamp(record.updated_at),
        etag=record.etag,
    )


def _batch_error(error: ContactsvcError) -> pb.BatchError:
    return pb.BatchError(
        code=statuses.code_number_of(error),
        reason=error.reason,
        message=error.message,
        field_violations=[
            pb.FieldViolation(field=violation.field, description=violation.description)
            for violation in error.violations
        ],
        metadata=error.metadata,
    )


def _timestamp(time: datetime) -> Timestamp:
    seconds, remainder = divmod(time - _EPOCH, timedelta(seconds=1))
    return Timestamp(seconds=seconds, nanos=remainder.microseconds * 1000)


def _type(problems: Problems, path: str, number: int) -> ContactMethodType | None:
    # The number may be one that the enum does not have (proto3 enums are open).
    type_: ContactMethodType | None = _TYPES.get(number)  # type: ignore[call-overload]
    if type_ is None:
        problems.add(path, "must be EMAIL, PHONE, FAX or OTHER")
    return type_


def _items(path: str, raw: Sequence[RequestT], parse: Callable[[RequestT], ItemT]) -> list[ItemT | InvalidFields]:
    """Parse the items of a batch; paths in what is wrong start at the batch."""
    problems = Problems()
    fields.count(problems, path, raw, at_least=1, at_most=fields.MAX_BATCH_ITEMS)
    problems.raise_if_any()
    items: list[ItemT | InvalidFields] = []
    for position, request in enumerate(raw):
        try:
            items.append(parse(request))
        except InvalidFields as error:
            items.append(error.below(f"{path}[{position}]"))
    return items


def _texts(
    problems: Problems, path: str, raw: Sequence[str], parse: Callable[[Problems, str, str], str]
) -> tuple[str, ...]:
    fields.count(problems, path, raw, at_most=fields.MAX_FILTER_VALUES)
    return tuple(parse(problems, f"{path}[{position}]", text) for position, text in enumerate(raw))


def _sought_label(problems: Problems, path: str, raw: str) -> str:
    if not raw:
        problems.add(path, "must not be empty")
    return fields.label(problems, path, raw) or ""


def _sort(problems: Problems, path: str, raw: Sequence[pb.ContactMethodSort]) -> tuple[SortKey, ...]:
    keys: list[SortKey] = []
    for position, asked in enumerate(raw):
        field = _SORT_FIELDS.get(asked.field)
        if field is None:
            problems.add(f"{path}[{position}].field", "must be CREATED_AT or UPDATED_AT")
        elif any(key.field is field for key in keys):
            problems.add(f"{path}[{position}].field", "is in the order already")
        else:
            keys.append(SortKey(field, asked.descending))
    return tuple(keys) or OLDEST_FIRST


def _metadata_change(problems: Problems, request: pb.UpdateContactMethodRequest) -> MetadataChange | Unset:
    if not (request.metadata or request.remove_metadata_keys or request.replace_metadata):
        return UNSET
    if request.replace_metadata and request.remove_metadata_keys:
        problems.add("remove_metadata_keys", "cannot be combined with replace_metadata")
    removed = set(_texts(problems, "remove_metadata_keys", request.remove_metadata_keys, fields.metadata_key))
    if removed & request.metadata.keys():
        problems.add("remove_metadata_keys", "must not name a key that metadata sets")
    emptied = {fields.metadata_key(problems, "metadata", key) for key, value in request.metadata.items() if not value}
    pairs = fields.metadata(problems, "metadata", {key: value for key, value in request.metadata.items() if value})
    return MetadataChange(set=pairs, remove=frozenset(removed | emptied), replace=request.replace_metadata)


def _time_range(
    problems: Problems, path: str, asked: pb.ContactMethodFilter, at_or_after: str, before: str
) -> TimeRange:
    return TimeRange(
        at_or_after=_time(problems, f"{path}.{at_or_after}", getattr(asked, at_or_after))
        if asked.HasField(at_or_after)
        else None,
        before=_time(problems, f"{path}.{before}", getattr(asked, before)) if asked.HasField(before) else None,
    )


def _time(problems: Problems, path: str, raw: Timestamp) -> datetime | None:
    # Rounded up: stored times have milliseconds, and `>= 10.0005 s` and `< 10.0005 s` both part them below 10.001 s.
    try:
        return _EPOCH + timedelta(milliseconds=raw.seconds * 1000 - (-raw.nanos // 1_000_000))
    except OverflowError:
        problems.add(path, "must be a time between the years 1 and 9999")
        return None
