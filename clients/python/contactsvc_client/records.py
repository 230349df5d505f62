"""What the methods return: frozen records in Python's own types."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Generic, Literal, NoReturn, TypeVar

from contactsvc.v1 import contact_methods_pb2 as pb
from contactsvc_client.errors import ContactsError

T = TypeVar("T")


class ContactMethodType(StrEnum):
    """The kinds of contact method. Every method also takes the plain strings."""

    EMAIL = "email"
    PHONE = "phone"
    FAX = "fax"
    OTHER = "other"


class UpsertAction(StrEnum):
    """What an upsert did."""

    CREATED = "created"
    UPDATED = "updated"
    UNCHANGED = "unchanged"


TYPE_NUMBERS = {type_: pb.ContactMethodType.Value(f"CONTACT_METHOD_TYPE_{type_.name}") for type_ in ContactMethodType}
TYPES = {number: type_ for type_, number in TYPE_NUMBERS.items()}
ACTIONS = {pb.UpsertAction.Value(f"UPSERT_ACTION_{action.name}"): action for action in UpsertAction}


class ReadOnlyDict(dict[str, str]):
    """A dictionary that cannot be changed; it can be copied, pickled and written as JSON."""

    def _refuse(self, *_: Any, **__: Any) -> NoReturn:
        raise TypeError("the metadata of a record is read only; dict(record.metadata) can be changed")

    __setitem__ = __delitem__ = __ior__ = _refuse
    clear = pop = popitem = setdefault = update = _refuse

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (dict(self),)


@dataclass(frozen=True, slots=True, kw_only=True)
class ContactMethod:
    """A way to reach a client. Times are aware and in UTC, with millisecond precision.

    Attributes:
        id: made by the service.
        client_id: the client it belongs to.
        type: what kind of contact this is.
        value: the address or number as sent, trimmed.
        normalized_value: the form that is compared and looked up; None only on servers that keep unreadable values.
        label: what people call it, or None.
        is_primary: whether it is the primary of its client and type; at most one is.
        is_verified: whether the normalized value has been verified.
        verified_at: when, or None.
        external_id: the caller's own identifier, or None.
        metadata: the caller's own pairs; read only.
        created_at: when it was created.
        updated_at: when it last changed.
        etag: opaque; changes exactly when the record changes.
    """

    id: str
    client_id: str
    type: ContactMethodType
    value: str
    normalized_value: str | None
    label: str | None
    is_primary: bool
    is_verified: bool
    verified_at: datetime | None
    external_id: str | None
    metadata: Mapping[str, str] = field(hash=False)
    created_at: datetime
    updated_at: datetime
    etag: str


@dataclass(frozen=True, slots=True, kw_only=True)
class UpsertedContactMethod(ContactMethod):
    """A contact method after an upsert.

    Attributes:
        action: what was done.
        demoted_ids: the ids of those that lost the primary flag to it.
    """

    action: UpsertAction
    demoted_ids: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Pagination:
    """Where a page stands in its list.

    Attributes:
        has_more: whether another page follows.
        next_cursor: what to pass as `cursor` for it; None at the end.
        total_count: how many records match over all pages; None unless asked for.
    """

    has_more: bool
    next_cursor: str | None
    total_count: int | None


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a list."""

    data: list[ContactMethod]
    pagination: Pagination


@dataclass(frozen=True, slots=True)
class DeleteResult:
    """What else a delete changed: the id of the record that became primary instead, or None."""

    promoted_id: str | None


@dataclass(frozen=True, slots=True)
class FoundMany:
    """The contact methods with several ids.

    Attributes:
        data: the records, in the order of the ids, without the missing ones.
        missing_ids: the ids that no record has.
    """

    data: list[ContactMethod]
    missing_ids: list[str]


@dataclass(frozen=True, slots=True)
class SyncResult:
    """What a sync did.

    Attributes:
        created: the new records, in the order of their items.
        updated: the records of items that changed.
        unchanged: the records of items that did not.
        deleted_ids: the ids of the deleted records.
        demoted_ids: the ids of those that lost the primary flag to an item.
    """

    created: list[ContactMethod]
    updated: list[ContactMethod]
    unchanged: list[ContactMethod]
    deleted_ids: list[str]
    demoted_ids: list[str]


@dataclass(frozen=True, slots=True)
class AtomicBatch(Generic[T]):
    """The outcome of an atomic batch, in which all items succeeded.

    Attributes:
        data: what came of the items, in their order: records, or the ids of deleted ones.
        atomic: always True; tells the two outcomes apart.
    """

    data: list[T]
    atomic: Literal[True] = True


@dataclass(frozen=True, slots=True)
class PartialBatch(Generic[T]):
    """The outcome of a batch whose items succeeded or failed alone.

    Attributes:
        succeeded: pairs of an item's index and what came of it: a record, or the id of a deleted one.
        failed: pairs of an item's index and what the same call alone would have raised.
        atomic: always False; tells the two outcomes apart.
    """

    succeeded: list[tuple[int, T]]
    failed: list[tuple[int, ContactsError]]
    atomic: Literal[False] = False


def from_proto(message: pb.ContactMethod) -> ContactMethod:
    """Return the record of a message."""
    return ContactMethod(**_fields(message))


def upserted_from_proto(
    result: pb.UpsertContactMethodResponse | pb.BatchUpsertContactMethodsResult,
) -> UpsertedContactMethod:
    """Return the record of an upsert."""
    # A newer server may do what this client has no word for.
    action = ACTIONS.get(result.action, UpsertAction.UPDATED)
    return UpsertedContactMethod(**_fields(result.contact_method), action=action, demoted_ids=tuple(result.demoted_ids))


def _fields(message: pb.ContactMethod) -> dict[str, Any]:
    return {
        "id": message.id,
        "client_id": message.client_id,
        # A newer server may know types that this client does not.
        "type": TYPES.get(message.type, ContactMethodType.OTHER),
        "value": message.value,
        "normalized_value": message.normalized_value or None,
        "label": message.label if message.HasField("label") else None,
        "is_primary": message.is_primary,
        "is_verified": message.is_verified,
        "verified_at": message.verified_at.ToDatetime(UTC) if message.HasField("verified_at") else None,
        "external_id": message.external_id if message.HasField("external_id") else None,
        "metadata": ReadOnlyDict(message.metadata),
        "created_at": message.created_at.ToDatetime(UTC),
        "updated_at": message.updated_at.ToDatetime(UTC),
        "etag": message.etag,
    }
