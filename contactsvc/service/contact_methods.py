"""The operations on the contact methods of one environment."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Hashable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace

from contactsvc.domain.batch import Batch
from contactsvc.domain.clock import Clock
from contactsvc.domain.contact_method import ContactMethod
from contactsvc.domain.idempotency import RequestFingerprint
from contactsvc.domain.kinds import Slot
from contactsvc.domain.listing import Listing, Page
from contactsvc.domain.normalization import ValueRules
from contactsvc.domain.operations import Create, Delete, Operation, Sync, Update, Upsert
from contactsvc.domain.outcomes import Action
from contactsvc.domain.results import Deleted, Erased, Result, Written, expected, unexpected
from contactsvc.domain.sync import apply_sync
from contactsvc.domain.verification import VerificationEvent, VerificationSecrets
from contactsvc.errors import (
    ContactMethodNotFound,
    ContactsvcError,
    DeadlineExceeded,
    InvalidFields,
    MetadataAmbiguous,
    StoreUnavailable,
    TransactionsUnsupported,
)
from contactsvc.service.ports import Store
from contactsvc.service.verifications import Verifications
from contactsvc.service.writes import WritePlan, Writes


@dataclass(frozen=True, slots=True)
class Found:
    """The records asked for by their ids, and the ids that no record has, both in the order of the request."""

    contact_methods: list[ContactMethod]
    missing_ids: list[str]


@dataclass(frozen=True, slots=True)
class Synced:
    """What a sync did."""

    created: list[ContactMethod] = field(default_factory=list)
    updated: list[ContactMethod] = field(default_factory=list)
    unchanged: list[ContactMethod] = field(default_factory=list)
    deleted_ids: list[str] = field(default_factory=list)
    demoted_ids: list[str] = field(default_factory=list)


class ContactMethods:
    """The operations on the contact methods of one environment.

    A write with a `request` is carried out once, however often it is asked for within 24 hours.

    Attributes:
        verifications: the verification of their values.
    """

    def __init__(
        self,
        store: Store,
        rules: ValueRules,
        *,
        clock: Clock,
        make_id: Callable[[], str],
        secrets: Callable[[], VerificationSecrets],
        on_verification_event: Callable[[VerificationEvent], None],
    ) -> None:
        self._store = store
        self._writes = Writes(store, rules, clock, make_id, secrets)
        self.verifications = Verifications(store, self._writes, clock, secrets, on_verification_event)

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

    async def get_primary(self, slot: Slot) -> ContactMethod | None:
        """Return the primary of a client and type, if it has one."""
        return await self._store.find_primary(slot)

    async def batch_get(self, ids: Sequence[str]) -> Found:
        """Return the records with these ids."""
        records = {record.id: record for record in await self._store.find_by_ids(set(ids))}
        return Found(
            contact_methods=[records[id_] for id_ in ids if id_ in records],
            missing_ids=[id_ for id_ in ids if id_ not in records],
        )

    async def list_page(self, listing: Listing) -> Page:
        """Return one page of records."""
        return await self._store.find_page(listing)

    def stream(self, listing: Listing) -> AsyncGenerator[Page]:
        """Yield all pages of records, as they are asked for."""
        return self._store.stream_pages(listing)

    async def create(self, create: Create, request: RequestFingerprint | None = None) -> Written:
        """Create a record, and demote the present primary if the new one claims the flag."""
        return await self._write(create, request)

    async def update(self, update: Update, request: RequestFingerprint | None = None) -> Written:
        """Change a record; write nothing when nothing would differ."""
        return await self._write(update, request)

    async def upsert(self, upsert: Upsert, request: RequestFingerprint | None = None) -> Written:
        """Create the record with an external id, or change the one that has it."""
        return await self._write(upsert, request)

    async def delete(self, delete: Delete, request: RequestFingerprint | None = None) -> Deleted:
        """Delete a record, and promote another one if the request says so."""
        (result,) = await self._writes.carry_out(WritePlan.of_one(delete), request)
        return expected(Deleted, result)

    async def batch(self, batch: Batch, request: RequestFingerprint | None = None) -> list[Result]:
        """Carry out several operations as if one after the other; all or none, or (partial) each on its own.

        What succeeds takes effect together, in one transaction. On a store without transactions an atomic batch is
        refused, and the items of a partial one are separate writes.

        Returns:
            The result of each item; errors only when partial, or when a record of a repeated request is gone.
        """
        batch = batch.screened()
        if (refusal := batch.refused) is not None:
            # Nothing will be written. What stored records say against the other items is reported with it.
            with suppress(StoreUnavailable, DeadlineExceeded):
                await self._writes.dry_run(WritePlan(batch.applied_to, batch.operations))
            raise refusal
        if self._store.transactional:
            plan = WritePlan(batch.applied_to, batch.operations, keys=frozenset(batch.contested))
            return await self._writes.carry_out(plan, request)
        if not batch.partial:
            raise TransactionsUnsupported("an atomic batch")
        if request is not None:
            raise TransactionsUnsupported("a request_id")
        return await self._write_each(batch)

    async def sync(self, sync: Sync, request: RequestFingerprint | None = None) -> Synced:
        """Make the records of a client match the items, in one transaction."""
        if not self._store.transactional:
            raise TransactionsUnsupported("a sync")
        plan = WritePlan(
            lambda ledger: apply_sync(ledger, sync),
            ids=frozenset(item.id for item in sync.items if item.id is not None),
            external_ids=frozenset(item.external_id for item in sync.items if item.external_id is not None),
            client_id=sync.client_id,
            keys=_client_key(sync.client_id),
        )
        synced = Synced()
        for result in await self._writes.carry_out(plan, request):
            match result:
                case Written():
                    synced.demoted_ids.extend(result.demoted_ids)
                    lists = {Action.CREATED: synced.created, Action.UPDATED: synced.updated}
                    lists.get(result.action, synced.unchanged).append(result.record)
                case Deleted():
                    synced.deleted_ids.append(result.id)
                case ContactMethodNotFound():
                    # A repeated request, one of whose records was deleted since.
                    continue
                case _:
                    raise unexpected(result)
        return synced

    async def erase_client(self, client_id: str, request: RequestFingerprint | None = None) -> int:
        """Delete all records of a client, in one transaction where the database has transactions; return how many."""
        plan = WritePlan.of_erasure(client_id, keys=_client_key(client_id))
        (result,) = await self._writes.carry_out(plan, request)
        await self.verifications.forget_client(client_id)
        return expected(Erased, result).count

    async def _write(self, operation: Operation, request: RequestFingerprint | None) -> Written:
        (result,) = await self._writes.carry_out(WritePlan.of_one(operation), request)
        return expected(Written, result)

    async def _write_each(self, batch: Batch) -> list[Result]:
        """Carry out the items of a partial batch as separate writes, except those that a dry run finds invalid."""
        foreseen = await self._writes.dry_run(WritePlan(batch.applied_to, batch.operations))
        results: list[Result] = []
        for position, (item, result) in enumerate(zip(batch.items, foreseen, strict=True)):
            if isinstance(result, InvalidFields):
                results.append(result)
                continue
            if isinstance(item, InvalidFields):
                raise TypeError("a dry run accepted an invalid item")
            try:
                results += await self._writes.carry_out(WritePlan.of_one(item), None)
            except ContactsvcError as error:
                results.append(batch.failure(position, error))
        # A later item may have changed the record of an earlier one.
        written = {result.record.id for result in results if isinstance(result, Written)}
        now = {record.id: record for record in await self._store.find_by_ids(written)} if written else {}
        return [
            replace(result, record=now.get(result.record.id, result.record)) if isinstance(result, Written) else result
            for result in results
        ]


def _found(record: ContactMethod | None, looked_up_by: str) -> ContactMethod:
    if record is None:
        raise ContactMethodNotFound(looked_up_by)
    return record


def _client_key(client_id: str) -> frozenset[Hashable]:
    return frozenset({("client", client_id)})
