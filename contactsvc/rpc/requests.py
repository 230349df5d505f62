"""Requests: protobuf -> domain, and their shape.

"Parse, don't validate": what a `parse_` method returns is valid as far as it can be told without the database, and
what it finds wrong it reports all at once. The rules of single fields stand in domain/validation.py.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from typing import Any

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from contactsvc.domain import validation
from contactsvc.domain.batch import Batch
from contactsvc.domain.clock import EPOCH
from contactsvc.domain.contact_method import ContactMethodChange, MetadataChange, NewContactMethod
from contactsvc.domain.idempotency import RequestFingerprint
from contactsvc.domain.kinds import UNSET, ContactMethodType, ContactValue, Slot, Unset
from contactsvc.domain.listing import OLDEST_FIRST, Filter, Listing, SortField, SortKey, TimeRange
from contactsvc.domain.normalization import InvalidValue, ValueRules
from contactsvc.domain.operations import Delete, Description, Operation, Sync, SyncItem, Update, Upsert
from contactsvc.domain.primary import PrimaryDeletePolicy
from contactsvc.domain.validation import Violations
from contactsvc.errors import InvalidFields
from contactsvc.v1 import contact_methods_pb2 as pb

TYPES = {pb.ContactMethodType.Value(f"CONTACT_METHOD_TYPE_{type_.name}"): type_ for type_ in ContactMethodType}
SORT_FIELDS = {pb.ContactMethodSortField.Value(f"CONTACT_METHOD_SORT_FIELD_{field.name}"): field for field in SortField}
# Unspecified means to leave no primary.
DELETE_POLICIES = {
    pb.PRIMARY_DELETE_POLICY_UNSPECIFIED: PrimaryDeletePolicy.LEAVE_NONE,
    **{
        pb.PrimaryDeletePolicy.Value(f"PRIMARY_DELETE_POLICY_{policy.name}"): policy
        for policy in PrimaryDeletePolicy
        if policy is not PrimaryDeletePolicy.LEAVE_NONE
    },
}
_DIGEST_BYTES = 16
# Of the year 9999, the last that a Timestamp and a datetime have.
_LAST_SECOND = 253_402_300_799


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

    def parse_create(
        self, request: pb.CreateContactMethodRequest
    ) -> tuple[NewContactMethod, RequestFingerprint | None]:
        """Read a request to create."""
        problems = Violations()
        return self._new(problems, request), _mark(problems, request)

    def parse_id(self, request: pb.GetContactMethodRequest) -> str:
        """Read a request for a record by its id."""
        problems = Violations()
        id_ = validation.contact_method_id(problems, "id", request.id)
        problems.raise_if_any()
        return id_

    def parse_external_id(self, request: pb.GetContactMethodByExternalIdRequest) -> str:
        """Read a request for a record by its external id."""
        problems = Violations()
        external_id = validation.external_id(problems, "external_id", request.external_id)
        problems.raise_if_any()
        return external_id

    def parse_metadata_lookup(self, request: pb.GetContactMethodByMetadataRequest) -> MetadataLookup:
        """Read a request for a record by a pair."""
        problems = Violations()
        lookup = MetadataLookup(
            key=validation.metadata_key(problems, "key", request.key),
            value=validation.metadata_value(problems, "value", request.value),
            client_id=validation.client_id(problems, "client_id", request.client_id)
            if request.HasField("client_id")
            else None,
        )
        problems.raise_if_any()
        return lookup

    def parse_slot(self, request: pb.GetPrimaryContactMethodRequest) -> Slot:
        """Read a request for a primary."""
        problems = Violations()
        client_id = validation.client_id(problems, "client_id", request.client_id)
        type_ = _type(problems, "type", request.type)
        problems.raise_if_any()
        return client_id, type_ or ContactMethodType.OTHER

    def parse_listing(self, request: pb.ListContactMethodsRequest) -> Listing:
        """Read a request for a page."""
        problems = Violations()
        if request.page_token and request.offset:
            problems.add("offset", "cannot be combined with page_token")
        listing = Listing(
            filter=self._filter(problems, "filter", request.filter),
            sort=_sort(problems, "sort", request.sort),
            page_size=validation.page_size(problems, "page_size", request.page_size),
            page_token=request.page_token,
            offset=validation.not_negative(problems, "offset", request.offset),
            include_total_size=request.include_total_size,
        )
        problems.raise_if_any()
        return listing

    def parse_client_listing(self, request: pb.ListClientContactMethodsRequest) -> Listing:
        """Read a request for a page of one client."""
        problems = Violations()
        client_id = validation.client_id(problems, "client_id", request.client_id)
        type_ = _type(problems, "type", request.type) if request.HasField("type") else None
        listing = Listing(
            filter=Filter(client_ids=(client_id,), types=(type_,) if type_ else ()),
            page_size=validation.page_size(problems, "page_size", request.page_size),
            page_token=request.page_token,
        )
        problems.raise_if_any()
        return listing

    def parse_stream(self, request: pb.StreamContactMethodsRequest) -> Listing:
        """Read a request for all pages."""
        problems = Violations()
        listing = Listing(
            filter=self._filter(problems, "filter", request.filter),
            sort=_sort(problems, "sort", request.sort),
            page_size=validation.MAX_PAGE_SIZE,
            page_token=request.page_token,
        )
        problems.raise_if_any()
        return listing

    def parse_update(self, request: pb.UpdateContactMethodRequest) -> tuple[Update, RequestFingerprint | None]:
        """Read a request to update."""
        problems = Violations()
        return _update(problems, request), _mark(problems, request)

    def parse_delete(self, request: pb.DeleteContactMethodRequest) -> tuple[Delete, RequestFingerprint | None]:
        """Read a request to delete."""
        problems = Violations()
        policy = DELETE_POLICIES.get(request.on_primary)
        if policy is None:
            problems.add("on_primary", "must be a value of PrimaryDeletePolicy")
        delete = Delete(
            validation.contact_method_id(problems, "id", request.id),
            policy or PrimaryDeletePolicy.LEAVE_NONE,
            request.allow_missing,
            validation.etag(problems, "etag", request.etag),
        )
        return delete, _mark(problems, request)

    def parse_upsert(self, request: pb.UpsertContactMethodRequest) -> tuple[Upsert, RequestFingerprint | None]:
        """Read a request to upsert."""
        problems = Violations()
        return self._upsert(problems, request), _mark(problems, request)

    def parse_batch_create(
        self, request: pb.BatchCreateContactMethodsRequest
    ) -> tuple[Batch, RequestFingerprint | None]:
        """Read a batch of requests to create."""
        return _batch(request, self._new)

    def parse_batch_update(
        self, request: pb.BatchUpdateContactMethodsRequest
    ) -> tuple[Batch, RequestFingerprint | None]:
        """Read a batch of requests to update."""
        return _batch(request, _update)

    def parse_batch_upsert(
        self, request: pb.BatchUpsertContactMethodsRequest
    ) -> tuple[Batch, RequestFingerprint | None]:
        """Read a batch of requests to upsert."""
        return _batch(request, self._upsert)

    def parse_batch_delete(
        self, request: pb.BatchDeleteContactMethodsRequest
    ) -> tuple[Batch, RequestFingerprint | None]:
        """Read a batch of ids to delete."""
        problems = Violations()
        validation.count(problems, "ids", request.ids, at_least=1, at_most=validation.MAX_BATCH_ITEMS)
        mark = _mark(problems, request)
        items: list[Operation | InvalidFields] = []
        for position, raw in enumerate(request.ids):
            own = Violations()
            id_ = validation.contact_method_id(own, f"ids[{position}]", raw)
            items.append(own.error() or Delete(id_))
        return Batch(items, request.partial, "ids", plain=True), mark

    def parse_batch_get(self, request: pb.BatchGetContactMethodsRequest) -> tuple[str, ...]:
        """Read a request for several records by their ids."""
        problems = Violations()
        ids = _texts(problems, "ids", request.ids, validation.contact_method_id)
        if not ids:
            problems.add("ids", "must not be empty")
        problems.raise_if_any()
        return ids

    def parse_sync(self, request: pb.SyncClientContactMethodsRequest) -> tuple[Sync, RequestFingerprint | None]:
        """Read a request to sync."""
        problems = Violations()
        client_id = validation.client_id(problems, "client_id", request.client_id)
        validation.count(problems, "items", request.items, at_most=validation.MAX_BATCH_ITEMS)
        if request.replace and not request.items and not request.allow_empty_replace:
            problems.add("items", "must not be empty with replace, unless allow_empty_replace is set as well")
        items = []
        for position, item in enumerate(request.items[: validation.MAX_BATCH_ITEMS]):
            own = Violations()
            items.append(self._sync_item(own, item))
            problems.adopt(own, f"items[{position}]")
        mark = _mark(problems, request)
        return Sync(client_id, tuple(items), request.replace), mark

    def parse_erase(self, request: pb.EraseClientContactMethodsRequest) -> tuple[str, RequestFingerprint | None]:
        """Read a request to erase a client."""
        problems = Violations()
        client_id = validation.client_id(problems, "client_id", request.client_id)
        return client_id, _mark(problems, request)

    def _new(self, problems: Violations, request: pb.CreateContactMethodRequest) -> NewContactMethod:
        type_ = _type(problems, "type", request.type)
        return NewContactMethod(
            client_id=validation.client_id(problems, "client_id", request.client_id),
            type=type_ or ContactMethodType.OTHER,
            value=self._value(problems, "value", type_, request.value),
            label=validation.label(problems, "label", request.label),
            is_primary=request.is_primary,
            external_id=validation.external_id(problems, "external_id", request.external_id)
            if request.HasField("external_id")
            else None,
            metadata=validation.metadata(problems, "metadata", request.metadata),
        )

    def _upsert(self, problems: Violations, request: pb.UpsertContactMethodRequest) -> Upsert:
        return Upsert(
            client_id=validation.client_id(problems, "client_id", request.client_id),
            external_id=validation.external_id(problems, "external_id", request.external_id),
            description=self._description(problems, request, UNSET),
            etag=validation.etag(problems, "etag", request.etag),
        )

    def _sync_item(self, problems: Violations, item: pb.SyncItem) -> SyncItem:
        external_id = None
        if item.external_id:
            external_id = validation.external_id(problems, "external_id", item.external_id)
        id_ = validation.contact_method_id(problems, "id", item.id) if item.HasField("id") else None
        named = id_ is not None or external_id is not None
        return SyncItem(
            id=id_,
            external_id=external_id,
            description=None
            if item.delete and named
            else self._description(problems, item, external_id if item.HasField("external_id") else UNSET),
            etag=validation.etag(problems, "etag", item.etag),
            delete=item.delete,
        )

    def _description(
        self, problems: Violations, raw: pb.UpsertContactMethodRequest | pb.SyncItem, external_id: str | Unset | None
    ) -> Description:
        type_ = _type(problems, "type", raw.type)
        return Description(
            type=type_ or ContactMethodType.OTHER,
            value=self._value(problems, "value", type_, raw.value),
            label=validation.label(problems, "label", raw.label) if raw.HasField("label") else UNSET,
            is_primary=raw.is_primary if raw.HasField("is_primary") else UNSET,
            external_id=external_id,
            metadata=_merged(problems, raw.metadata) if raw.metadata else UNSET,
        )

    def _value(self, problems: Violations, path: str, type_: ContactMethodType | None, raw: str) -> ContactValue:
        text = validation.value(problems, path, raw)
        if type_ is None or not text or problems.has(path):
            # Without a type, or with a text that is none, there is nothing to read.
            return ContactValue(text, None)
        try:
            return self._rules.read(type_, text)
        except InvalidValue as error:
            problems.add(path, str(error))
            return ContactValue(text, None)

    def _filter(self, problems: Violations, path: str, asked: pb.ContactMethodFilter) -> Filter:
        types = tuple(
            type_
            for position, number in enumerate(asked.types)
            if (type_ := _type(problems, f"{path}.types[{position}]", number))
        )
        validation.count(problems, f"{path}.types", asked.types, at_most=validation.MAX_FILTER_VALUES)
        contains = asked.value_contains
        if contains:
            validation.text(problems, f"{path}.value_contains", contains, at_most=validation.MAX_VALUE_LENGTH)
        return Filter(
            ids=_texts(problems, f"{path}.ids", asked.ids, validation.contact_method_id),
            client_ids=_texts(problems, f"{path}.client_ids", asked.client_ids, validation.client_id),
            types=types,
            values=self._sought_values(problems, f"{path}.values", types, asked.values),
            value_contains=contains,
            is_primary=asked.is_primary if asked.HasField("is_primary") else None,
            is_verified=asked.is_verified if asked.HasField("is_verified") else None,
            external_ids=_texts(problems, f"{path}.external_ids", asked.external_ids, validation.external_id),
            labels=_texts(problems, f"{path}.labels", asked.labels, _sought_label),
            metadata=validation.metadata(problems, f"{path}.metadata", asked.metadata),
            created=_time_range(problems, path, asked, "created_at_or_after", "created_before"),
            updated=_time_range(problems, path, asked, "updated_at_or_after", "updated_before"),
        )

    def _sought_values(
        self, problems: Violations, path: str, types: Sequence[ContactMethodType], raw: Sequence[str]
    ) -> tuple[tuple[ContactMethodType, str], ...] | None:
        """Return the normalized forms under which the values may be stored; None when none are asked for."""
        if not raw:
            return None
        texts = _texts(problems, path, raw, validation.value)
        sought = []
        for text in texts if not problems.has(path) else ():
            for type_ in types or ContactMethodType:
                try:
                    sought.append((type_, self._rules.normalize(type_, text)))
                except InvalidValue:
                    # No record of this type can have the value; of another it may.
                    continue
        return tuple(sought)


def _type(problems: Violations, path: str, number: int) -> ContactMethodType | None:
    # The number may be one that the enum does not have (proto3 enums are open).
    type_: ContactMethodType | None = TYPES.get(number)
    if type_ is None:
        problems.add(path, "must be CONTACT_METHOD_TYPE_EMAIL, _PHONE, _FAX or _OTHER")
    return type_


def _mark(problems: Violations, request: Any) -> RequestFingerprint | None:
    """Return what tells the request from others, if it has a request_id; report what has been found wrong so far.

    The digest is of the message as this service reads it, since callers may encode equal messages differently.
    """
    id_ = validation.request_id(problems, "request_id", request.request_id)
    problems.raise_if_any()
    if not id_:
        return None
    message: Message = request
    digest = blake2b(message.DESCRIPTOR.full_name.encode(), digest_size=_DIGEST_BYTES)
    digest.update(message.SerializeToString(deterministic=True))
    return RequestFingerprint(id_, digest.digest())


def _batch(request: Any, parse: Callable[[Violations, Any], Operation]) -> tuple[Batch, RequestFingerprint | None]:
    """Read the items of a batch; each is parsed, or is what is wrong with it, with paths that start at the batch."""
    problems = Violations()
    validation.count(problems, "requests", request.requests, at_least=1, at_most=validation.MAX_BATCH_ITEMS)
    mark = _mark(problems, request)
    items: list[Operation | InvalidFields] = []
    for position, item in enumerate(request.requests):
        own = Violations()
        parsed = parse(own, item)
        if item.request_id:
            own.add("request_id", "must not be set inside a batch; set it on the batch")
        error = own.error()
        items.append(error.below(f"requests[{position}]") if error else parsed)
    return Batch(items, request.partial), mark


def _update(problems: Violations, request: pb.UpdateContactMethodRequest) -> Update:
    type_ = _type(problems, "type", request.type) if request.HasField("type") else UNSET
    change = ContactMethodChange(
        type=UNSET if type_ is None else type_,
        value=validation.value(problems, "value", request.value) if request.HasField("value") else UNSET,
        label=validation.label(problems, "label", request.label) if request.HasField("label") else UNSET,
        is_primary=request.is_primary if request.HasField("is_primary") else UNSET,
        external_id=(
            validation.external_id(problems, "external_id", request.external_id) if request.external_id else None
        )
        if request.HasField("external_id")
        else UNSET,
        metadata=_metadata_change(problems, request),
    )
    id_ = validation.contact_method_id(problems, "id", request.id)
    return Update(id_, change, validation.etag(problems, "etag", request.etag))


def _external_id(problems: Violations, request: pb.UpdateContactMethodRequest) -> str | Unset | None:
    if not request.HasField("external_id"):
        return UNSET
    return validation.external_id(problems, "external_id", request.external_id) if request.external_id else None


def _texts(
    problems: Violations, path: str, raw: Sequence[str], parse: Callable[[Violations, str, str], str]
) -> tuple[str, ...]:
    validation.count(problems, path, raw, at_most=validation.MAX_FILTER_VALUES)
    return tuple(parse(problems, f"{path}[{position}]", text) for position, text in enumerate(raw))


def _sought_label(problems: Violations, path: str, raw: str) -> str:
    if not raw:
        problems.add(path, "must not be empty")
    return validation.label(problems, path, raw) or ""


def _sort(problems: Violations, path: str, raw: Sequence[pb.ContactMethodSort]) -> tuple[SortKey, ...]:
    keys: list[SortKey] = []
    for position, asked in enumerate(raw):
        field = SORT_FIELDS.get(asked.field)
        if field is None:
            problems.add(f"{path}[{position}].field", "must be CONTACT_METHOD_SORT_FIELD_CREATED_AT or _UPDATED_AT")
        elif any(key.field is field for key in keys):
            problems.add(f"{path}[{position}].field", "is in the order already")
        else:
            keys.append(SortKey(field, asked.descending))
    return tuple(keys) or OLDEST_FIRST


def _metadata_change(problems: Violations, request: pb.UpdateContactMethodRequest) -> MetadataChange | Unset:
    if not (request.metadata or request.remove_metadata_keys or request.replace_metadata):
        return UNSET
    if request.replace_metadata and request.remove_metadata_keys:
        problems.add("remove_metadata_keys", "cannot be combined with replace_metadata")
    names = request.remove_metadata_keys
    validation.count(problems, "remove_metadata_keys", names, at_most=validation.MAX_METADATA_PAIRS)
    removed = {
        validation.metadata_key(problems, f"remove_metadata_keys[{position}]", name)
        for position, name in enumerate(names[: validation.MAX_METADATA_PAIRS])
    }
    if removed & request.metadata.keys():
        problems.add("remove_metadata_keys", "must not name a key that metadata sets")
    merged = _merged(problems, request.metadata)
    return MetadataChange(set=merged.set, remove=merged.remove | removed, replace=request.replace_metadata)


def _merged(problems: Violations, raw: Mapping[str, str]) -> MetadataChange:
    """Read pairs to be merged; an empty value removes its key."""
    emptied = {validation.metadata_key(problems, "metadata", key) for key, value in raw.items() if not value}
    pairs = validation.metadata(problems, "metadata", {key: value for key, value in raw.items() if value})
    return MetadataChange(set=pairs, remove=frozenset(emptied), replace=False)


def _time_range(
    problems: Violations, path: str, asked: pb.ContactMethodFilter, at_or_after: str, before: str
) -> TimeRange:
    return TimeRange(
        at_or_after=_time(problems, f"{path}.{at_or_after}", getattr(asked, at_or_after))
        if asked.HasField(at_or_after)
        else None,
        before=_time(problems, f"{path}.{before}", getattr(asked, before)) if asked.HasField(before) else None,
    )


def _time(problems: Violations, path: str, raw: Timestamp) -> datetime | None:
    # Rounded up: stored times have milliseconds, and `>= 10.0005 s` and `< 10.0005 s` both part them below 10.001 s.
    try:
        return EPOCH + timedelta(milliseconds=raw.seconds * 1000 - (-raw.nanos // 1_000_000))
    except OverflowError:
        if raw.seconds == _LAST_SECOND:
            return datetime.max.replace(tzinfo=UTC)
        problems.add(path, "must be a time between the years 1 and 9999")
        return None
