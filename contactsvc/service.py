"""The use cases: what each operation does, in terms of the domain and of the store that it needs.

Knows neither gRPC nor MongoDB. One instance serves one environment.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol, TypeVar

from contactsvc.domain import fields
from contactsvc.domain.contact_method import (
    ContactMethod,
    ContactMethodChange,
    NewContactMethod,
    Slot,
    Unset,
    changed,
)
from contactsvc.domain.ids import Clock, new_etag
from contactsvc.domain.listing import Listing, Page
from contactsvc.domain.primary import FlagIntent, PrimaryDeletePolicy, flag_intent, next_primary, rival_claims
from contactsvc.domain.values import InvalidValue, ValueRules
from contactsvc.errors import (
    ContactMethodNotFound,
    ContactsvcError,
    EtagMismatch,
    ExternalIdTaken,
    FieldViolation,
    InvalidFields,
    MetadataAmbiguous,
    PrimaryConflict,
    PrimaryRejected,
    TransactionsUnsupported,
)

T = TypeVar("T")

# How often a single-record write is tried again when the record changes between reading and writing it.
_REPLACE_ATTEMPTS = 10


class Store(Protocol):
    """What the use cases need of a database, for one environment.

    Any method may raise StoreUnavailable. Writes are durable when the method returns.
    """

    @property
    def transactional(self) -> bool:
        """Whether `atomically` is atomic. Without it a crash between two writes leaves the first."""
        ...

    async def find(self, id_: str) -> ContactMethod | None:
        """Return the record with this id."""
        ...

    async def find_by_external_id(self, external_id: str) -> ContactMethod | None:
        """Return the record with this external id."""
        ...

    async def find_holders(self, external_ids: Collection[str]) -> dict[str, str]:
        """Return which of the external ids are taken, with the ids of the records that have them."""
        ...

    async def find_by_metadata(self, key: str, value: str, client_id: str | None, *, limit: int) -> list[ContactMethod]:
        """Return up to `limit` records that carry the pair."""
        ...

    async def find_primary(self, slot: Slot) -> ContactMethod | None:
        """Return the primary of the slot."""
        ...

    async def find_primary_ids(self, slots: Collection[Slot]) -> dict[Slot, str]:
        """Return the ids of the primaries of those slots that have one."""
        ...

    async def find_in_slot(self, slot: Slot) -> list[ContactMethod]:
        """Return all records of the client and type."""
        ...

    async def find_page(self, listing: Listing) -> Page:
        """Return one page; raise InvalidPageToken when the token does not belong to the listing."""
        ...

    async def insert(self, records: Sequence[ContactMethod]) -> None:
        """Insert records; several only inside `atomically`.

        Raises:
            PrimaryConflict: a slot already has a primary.
            ExternalIdTaken: an external id is taken; without `existing_id`.
        """
        ...

    async def replace(self, before: ContactMethod, after: ContactMethod) -> bool:
        """Write `after` if the stored record still has the etag of `before`; tell whether it had.

        Raises:
            PrimaryConflict: the slot already has a primary.
            ExternalIdTaken: the external id is taken; without `existing_id`.
        """
        ...

    async def demote(self, ids: Collection[str], *, at: datetime, etag: str) -> None:
        """Take the primary flag from those of the records that have it."""
        ...

    async def remove(self, id_: str, *, unless_primary: bool = False) -> bool:
        """Remove the record; tell whether there was one to remove."""
        ...

    async def atomically(self, work: Callable[[Store], Awaitable[T]], *, slots: Collection[Slot]) -> T:
        """Run `work` on a store whose writes take effect together, and again when it loses a race.

        `work` says that it lost by raising Aborted; after many attempts that is raised. Of the calls in this process
        that name the same slot one runs at a time, since transactions that fight over a slot abort each other.
        """
        ...


@dataclass(frozen=True, slots=True)
class Written:
    """A record after a write, and the ids of those that lost the primary flag to it."""

    contact_method: ContactMethod
    demoted_ids: list[str] = field(default_factory=list)


class ContactMethods:
    """The operations on the contact methods of one environment."""

    def __init__(self, store: Store, rules: ValueRules, *, clock: Clock, make_id: Callable[[], str]) -> None:
        self._store = store
        self._rules = rules
        self._clock = clock
        self._make_id = make_id

    async def create(self, new: NewContactMethod) -> Written:
        """Create a record, and demote the present primary if the new one claims the flag."""
        record = self._record_of(new, self._clock())
        try:
            # While the slot is free this one write is all it takes.
            await self._store.insert([record])
        except PrimaryConflict:
            return await self._insert_and_demote(record)
        except ExternalIdTaken:
            raise await self._external_id_taken(record.external_id) from None
        return Written(record)

    async def _insert_and_demote(self, record: ContactMethod) -> Written:
        async def work(store: Store) -> list[str]:
            if record.external_id is not None and await store.find_holders([record.external_id]):
                # Found before anyone is demoted: without transactions there would be no way back.
                raise ExternalIdTaken(None)
            demoted = await self._demote_primaries(store, [record.slot], at=record.created_at)
            await store.insert([record])
            return list(demoted.values())

        try:
            return Written(record, await self._store.atomically(work, slots=[record.slot]))
        except ExternalIdTaken:
            raise await self._external_id_taken(record.external_id) from None

    async def get(self, id_: str) -> ContactMethod:
        """Return the record with this id."""
        return _found(await self._store.find(id_), "id")

    async def get_by_external_id(self, external_id: str) -> ContactMethod:
        """Return the record with this external id."""
        return _found(await self._store.find_by_external_id(external_id), "external id")

    async def get_by_metadata(self, key: str, value: str, client_id: str | None) -> ContactMethod:
        """Return the only record that carries the pair."""
        matches = await self._store.find_by_metadata(key, value, client_id, limit=2)
        if len(matches) > 1:
            raise MetadataAmbiguous
        return _found(matches[0] if matches else None, "metadata pair")

    async def list_page(self, listing: Listing) -> Page:
        """Return one page of records."""
        return await self._store.find_page(listing)

    async def get_primary(self, slot: Slot) -> ContactMethod | None:
        """Return the primary of a client and type, if it has one."""
        return await self._store.find_primary(slot)

    async def update(self, id_: str, change: ContactMethodChange) -> Written:
        """Change a record; write nothing when nothing would differ."""
        try:
            return await self._update(id_, change)
        except ExternalIdTaken:
            wanted = change.external_id
            raise await self._external_id_taken(None if isinstance(wanted, Unset) else wanted) from None

    async def _update(self, id_: str, change: ContactMethodChange) -> Written:
        for _ in range(_REPLACE_ATTEMPTS):
            before = await self.get(id_)
            intent = flag_intent(before, change.is_primary, change.type)
            after = self._after(before, change, intent)
            if after is before:
                return Written(before)
            try:
                if await self._store.replace(before, after):
                    return Written(after)
            except PrimaryConflict:
                if intent is FlagIntent.TAKE:
                    return await self._update_and_demote(id_, change, after.slot)
                # TAKE_IF_FREE: the slot is taken, so the record moves without its flag. Whoever frees the slot a moment
                # later came second.
                after = self._after(before, change, FlagIntent.CLEAR)
                if await self._store.replace(before, after):
                    return Written(after)
        raise EtagMismatch

    async def _update_and_demote(self, id_: str, change: ContactMethodChange, slot: Slot) -> Written:
        async def work(store: Store) -> Written:
            before = _found(await store.find(id_), "id")
            after = self._after(before, change, flag_intent(before, change.is_primary, change.type))
            if after is before:
                return Written(before)
            if after.slot != slot:
                # Somebody changed the type meanwhile, and this call holds another slot than it now needs.
                raise EtagMismatch
            if after.external_id is not None and after.external_id != before.external_id:
                holders = await store.find_holders([after.external_id])
                if holders.get(after.external_id, id_) != id_:
                    raise ExternalIdTaken(None)
            demoted = await self._demote_primaries(store, [slot], at=after.updated_at, keep=id_)
            if not await store.replace(before, after):
                raise EtagMismatch
            return Written(after, list(demoted.values()))

        return await self._store.atomically(work, slots=[slot])

    async def delete(self, id_: str, policy: PrimaryDeletePolicy, *, allow_missing: bool) -> str | None:
        """Delete a record; return the id of the one that was promoted in its place."""
        for _ in range(_REPLACE_ATTEMPTS):
            if await self._store.remove(id_, unless_primary=policy is not PrimaryDeletePolicy.LEAVE_NONE):
                return None
            present = await self._store.find(id_)
            if present is None:
                if allow_missing:
                    return None
                raise ContactMethodNotFound("id")
            if present.is_primary and policy is PrimaryDeletePolicy.REJECT:
                raise PrimaryRejected
            if present.is_primary and policy is PrimaryDeletePolicy.PROMOTE_NEXT:
                return await self._delete_and_promote(present, allow_missing=allow_missing)
            # It was primary when the removal looked and is not any more, or the other way round: look again.
        raise EtagMismatch

    async def _delete_and_promote(self, seen: ContactMethod, *, allow_missing: bool) -> str | None:
        async def work(store: Store) -> str | None:
            present = await store.find(seen.id)
            if present is None:
                if allow_missing:
                    return None
                raise ContactMethodNotFound("id")
            if present.slot != seen.slot:
                raise EtagMismatch
            await store.remove(present.id)
            if not present.is_primary:
                return None
            heir = next_primary(cm for cm in await store.find_in_slot(present.slot) if cm.id != present.id)
            if heir is None:
                return None
            promoted = changed(heir, {"is_primary": True}, now=self._clock(), etag=new_etag())
            if not await store.replace(heir, promoted):
                raise EtagMismatch
            return heir.id

        return await self._store.atomically(work, slots=[seen.slot])

    async def batch_create(
        self, items: Sequence[NewContactMethod | InvalidFields], *, partial: bool
    ) -> list[Written | ContactsvcError]:
        """Create records as if one after the other; all or none, or (`partial`) each alone.

        Args:
            items: the parsed items, or what is wrong with them; paths start at the batch, as in `requests[3].value`.
            partial: whether each item succeeds or fails alone.

        Returns:
            The outcome of each item; errors only when partial.
        """
        checked = _without_rival_claims(items)
        if partial:
            return [await self._create_one(item, position) for position, item in enumerate(checked)]
        violations = [v for item in checked if isinstance(item, InvalidFields) for v in item.violations]
        if violations:
            raise InvalidFields(violations)
        if not self._store.transactional:
            raise TransactionsUnsupported("an atomic batch")
        return [*await self._create_all([item for item in checked if isinstance(item, NewContactMethod)])]

    async def _create_one(self, item: NewContactMethod | InvalidFields, position: int) -> Written | ContactsvcError:
        if isinstance(item, InvalidFields):
            return item
        try:
            return await self.create(item)
        except ExternalIdTaken as error:
            return ExternalIdTaken(error.existing_id, error.violations_below(f"requests[{position}]"))
        except ContactsvcError as error:
            return error

    async def _create_all(self, items: Sequence[NewContactMethod]) -> list[Written]:
        now = self._clock()
        records = [self._record_of(item, now) for item in items]
        claimed = [record.slot for record in records if record.is_primary]

        async def work(store: Store) -> dict[Slot, str]:
            await _refuse_taken_external_ids(store, records)
            demoted = await self._demote_primaries(store, claimed, at=now)
            await store.insert(records)
            return demoted

        try:
            demoted = await self._store.atomically(work, slots=claimed)
        except ExternalIdTaken:
            # Taken between the look and the insert: look once more, for the id of the record that has it now.
            await _refuse_taken_external_ids(self._store, records)
            raise
        return [
            Written(record, [demoted[record.slot]] if record.is_primary and record.slot in demoted else [])
            for record in records
        ]

    def _record_of(self, new: NewContactMethod, now: datetime) -> ContactMethod:
        return ContactMethod(
            id=self._make_id(),
            client_id=new.client_id,
            type=new.type,
            value=new.value,
            label=new.label,
            is_primary=new.is_primary,
            verified_at=None,
            external_id=new.external_id,
            metadata=new.metadata,
            created_at=now,
            updated_at=now,
            etag=new_etag(),
        )

    def _after(self, before: ContactMethod, change: ContactMethodChange, intent: FlagIntent) -> ContactMethod:
        """Return the record after the change; raise InvalidFields when the two do not go together."""
        problems = fields.Problems()
        after: dict[str, object] = {
            name: wanted
            for name in ("type", "label", "external_id")
            if not isinstance(wanted := getattr(change, name), Unset)
        }
        new_type = before.type if isinstance(change.type, Unset) else change.type
        if not isinstance(change.value, Unset) or new_type is not before.type:
            text = before.value.text if isinstance(change.value, Unset) else change.value
            try:
                after["value"] = self._rules.read(new_type, text)
            except InvalidValue as error:
                if isinstance(change.value, Unset):
                    problems.add("type", f"the present value does not fit: {error}")
                else:
                    problems.add("value", str(error))
        if not isinstance(change.metadata, Unset):
            after["metadata"] = pairs = change.metadata.applied_to(before.metadata)
            if len(pairs) > fields.MAX_METADATA_PAIRS:
                problems.add("metadata", f"must have at most {fields.MAX_METADATA_PAIRS} pairs after the update")
        problems.raise_if_any()
        if intent is not FlagIntent.KEEP:
            after["is_primary"] = intent is not FlagIntent.CLEAR
        return changed(before, after, now=self._clock(), etag=new_etag())

    async def _demote_primaries(
        self, store: Store, slots: Collection[Slot], *, at: datetime, keep: str | None = None
    ) -> dict[Slot, str]:
        """Demote the primaries of the slots, except for the record `keep`; return whom."""
        if not slots:
            return {}
        present = {slot: id_ for slot, id_ in (await store.find_primary_ids(slots)).items() if id_ != keep}
        if present:
            await store.demote(present.values(), at=at, etag=new_etag())
        return present

    async def _external_id_taken(self, external_id: str | None) -> ExternalIdTaken:
        """Return the error with the id of the record that has the external id."""
        holder = None if external_id is None else await self._store.find_by_external_id(external_id)
        return ExternalIdTaken(holder.id if holder else None)


def _found(record: ContactMethod | None, looked_up_by: str) -> ContactMethod:
    if record is None:
        raise ContactMethodNotFound(looked_up_by)
    return record


def _without_rival_claims(
    items: Sequence[NewContactMethod | InvalidFields],
) -> list[NewContactMethod | InvalidFields]:
    """Turn the items that claim the same primary slot into errors that name all of them."""
    checked = list(items)
    claims = [
        (position, item.slot)
        for position, item in enumerate(items)
        if isinstance(item, NewContactMethod) and item.is_primary
    ]
    for group in rival_claims(claims):
        named = ", ".join(f"requests[{position}]" for position in group)
        for position in group:
            checked[position] = InvalidFields(
                [
                    FieldViolation(
                        f"requests[{position}].is_primary", f"{named} claim the primary of the same client and type"
                    )
                ]
            )
    return checked


async def _refuse_taken_external_ids(store: Store, records: Sequence[ContactMethod]) -> None:
    """Raise one error that names every item whose external id is taken, by a record or by an earlier item."""
    first_at: dict[str, int] = {}
    violations = []
    wanted = [record.external_id for record in records if record.external_id is not None]
    holders = await store.find_holders(wanted) if wanted else {}
    for position, record in enumerate(records):
        if record.external_id is None:
            continue
        earlier = first_at.setdefault(record.external_id, position)
        path = f"requests[{position}].external_id"
        if record.external_id in holders:
            violations.append(FieldViolation(path, f"taken by {holders[record.external_id]}"))
        elif earlier != position:
            violations.append(FieldViolation(path, f"taken by requests[{earlier}]"))
    if violations:
        taken = [holders[id_] for id_ in wanted if id_ in holders]
        raise ExternalIdTaken(taken[0] if taken else None, violations=violations)
