"""Carries out writes: read what a write may touch, apply it to a ledger, store the change set.

A change set of one document is stored by one guarded write, which fails when another write was faster; then everything
is done again on what is there now. A larger change set takes a transaction. A request with a request_id is carried out
once: its idempotency record is part of the change set, and a unique index allows one per request_id, so that of two
equal requests one finds the record of the other.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

from contactsvc.domain.change_set import ChangeSet
from contactsvc.domain.clock import Clock
from contactsvc.domain.contact_method import ContactMethod
from contactsvc.domain.idempotency import IdempotencyRecord, RequestAlreadyApplied, RequestFingerprint
from contactsvc.domain.ledger import Ledger
from contactsvc.domain.normalization import ValueRules
from contactsvc.domain.operations import (
    CheckVerification,
    Create,
    Delete,
    Operation,
    SetVerification,
    StartVerification,
    Update,
    Upsert,
    contested_by,
)
from contactsvc.domain.outcomes import Action, Applied
from contactsvc.domain.results import Erased, Result, outcomes_of, results_of
from contactsvc.domain.verification import VerificationSecrets
from contactsvc.errors import (
    ContactsvcError,
    DeadlineExceeded,
    EtagMismatch,
    RequestIdReused,
    StoreUnavailable,
    TransactionsUnsupported,
)
from contactsvc.service.ports import LostRace, Store

# Attempts at a write of one document before it takes turns with the writes that it keeps losing against.
_MAX_ATTEMPTS = 2
# Attempts at a request whose idempotency record is found, and then gone, before the caller is asked to retry.
_MAX_RECALLS = 10


@dataclass(frozen=True, slots=True)
class WritePlan:
    """A write to be carried out.

    Attributes:
        apply: applies it to a ledger; when it raises, nothing is stored.
        operations: its operations, as far as they determine what has to be read.
        ids: further records to read.
        external_ids: further records to read, by external id.
        client_id: the client whose records are all read.
        erased_client_id: the client whose records are all deleted, unread; nothing is applied then.
        keys: the keys over which it may compete with other writes.
        before_write: awaited before a change set is stored; when it raises, nothing is.
    """

    apply: Callable[[Ledger], Sequence[Result]]
    operations: Sequence[Operation] = ()
    ids: frozenset[str] = frozenset()
    external_ids: frozenset[str] = frozenset()
    client_id: str | None = None
    erased_client_id: str | None = None
    keys: frozenset[Hashable] = frozenset()
    before_write: Callable[[Sequence[Result]], Awaitable[None]] | None = None

    @staticmethod
    def of_one(
        operation: Operation, *, before_write: Callable[[Sequence[Result]], Awaitable[None]] | None = None
    ) -> WritePlan:
        """Return the plan of a single operation."""
        return WritePlan(lambda ledger: [ledger.apply(operation)], [operation], before_write=before_write)

    @staticmethod
    def of_erasure(client_id: str, *, keys: frozenset[Hashable]) -> WritePlan:
        """Return the plan of the erasure of a client."""
        return WritePlan(lambda _: [], erased_client_id=client_id, keys=keys)


@dataclass(frozen=True, slots=True)
class Writes:
    """Carries out the writes of one environment."""

    store: Store
    rules: ValueRules
    clock: Clock
    make_id: Callable[[], str]
    secrets: Callable[[], VerificationSecrets]

    async def carry_out(self, plan: WritePlan, request: RequestFingerprint | None) -> list[Result]:
        """Carry out a plan, once if it has a request.

        Raises:
            RequestIdReused: the request_id belongs to another request.
            TransactionsUnsupported: there is a request, and the database cannot store it together with its changes.
            ContactsvcError: what applying the plan raises.
        """
        if request is None:
            return await self._attempt(plan, None)
        if not self.store.transactional:
            raise TransactionsUnsupported("a request_id")
        for _ in range(_MAX_RECALLS):
            with suppress(RequestAlreadyApplied):
                return await self._attempt_or_recall(plan, request)
            remembered = await self.store.find_idempotency_record(request.id)
            if remembered is not None:
                if remembered.expires_at > self.clock():
                    return await self._recall(request, remembered)
                await self.store.remove_idempotency_record(remembered)
        raise EtagMismatch

    async def dry_run(self, plan: WritePlan) -> list[Result]:
        """Return the results that a plan would have now; store nothing."""
        ledger = await self._read(self.store, plan)
        return ledger.settled(plan.apply(ledger))

    async def _attempt_or_recall(self, plan: WritePlan, request: RequestFingerprint) -> list[Result]:
        """Attempt a plan; raise RequestAlreadyApplied if it fails because it was carried out before."""
        try:
            results = await self._attempt(plan, request)
        except (StoreUnavailable, DeadlineExceeded):
            raise
        except ContactsvcError:
            await self._raise_if_applied(request)
            raise
        if _all_failed(results):
            await self._raise_if_applied(request)
        return results

    async def _raise_if_applied(self, request: RequestFingerprint) -> None:
        remembered = await self.store.find_idempotency_record(request.id)
        if remembered is not None and remembered.expires_at > self.clock():
            raise RequestAlreadyApplied

    async def _recall(self, request: RequestFingerprint, remembered: IdempotencyRecord) -> list[Result]:
        if not request.repeats(remembered.fingerprint):
            raise RequestIdReused
        ids = {
            outcome.id
            for outcome in remembered.outcomes
            if isinstance(outcome, Applied) and outcome.action is not Action.DELETED
        }
        records = {record.id: record for record in await self.store.find_by_ids(ids)} if ids else {}
        return results_of(remembered.outcomes, records.get)

    async def _attempt(self, plan: WritePlan, request: RequestFingerprint | None) -> list[Result]:
        keys: set[Hashable] = set()
        prepared: tuple[list[Result], ChangeSet] | None = None
        # Several operations need a transaction in any case, which reads everything itself.
        if len(plan.operations) == 1:
            # A create needs no read as long as its slot and external id are free; the indexes find out if they are not.
            blindly = isinstance(plan.operations[0], Create)
            for attempt in range(_MAX_ATTEMPTS):
                ledger = self._ledger() if blindly and attempt == 0 else await self._read(self.store, plan)
                results, change_set = _applied(plan, ledger, request)
                size = len(change_set)
                if size > 1:
                    keys |= change_set.contested
                    if ledger.is_guarded_by(change_set) and plan.before_write is None:
                        prepared = results, change_set
                    break
                if not size:
                    return results
                if plan.before_write is not None:
                    await plan.before_write(results)
                try:
                    await self.store.write(change_set)
                except LostRace:
                    if not await self._was_made(change_set):
                        continue
                return results
            for operation in plan.operations:
                keys |= contested_by(operation)
        keys |= plan.keys
        if request is not None:
            keys.add(("request", request.id))
        return await self._attempt_in_transaction(plan, request, keys, prepared)

    async def _was_made(self, change_set: ChangeSet) -> bool:
        """Return whether a write of one record that seems to have lost a race was made all the same.

        A driver repeats a write whose answer was lost with the connection. MongoDB recognizes the repetition; a
        database that does not (the embedded one after a restart) finds the record changed by the first attempt. An
        etag that is new with every write shows whose change it was: that of the record, or, for sends and wrong codes,
        that of the challenge.
        """
        written = [*change_set.inserted, *(after for _, after in change_set.replaced)]
        if not written:
            return False
        present = await self.store.find(written[0].id)
        return present is not None and _state(present) == _state(written[0])

    async def _attempt_in_transaction(
        self,
        plan: WritePlan,
        request: RequestFingerprint | None,
        keys: set[Hashable],
        prepared: tuple[list[Result], ChangeSet] | None,
    ) -> list[Result]:
        """Carry out a plan in a transaction.

        Args:
            plan: the plan.
            request: the request that it belongs to.
            keys: the keys over which it competes with other writes.
            prepared: the results and the change set of an attempt outside of the transaction, if the guards of its
                writes suffice to notice that another write was faster. The transaction then needs no reads.
        """

        async def work(store: Store) -> list[Result]:
            if plan.erased_client_id is None:
                results, change_set = _applied(plan, await self._read(store, plan), request)
            else:
                now = self.clock()
                results = [Erased(await store.erase_client(plan.erased_client_id, now=now))]
                record = _idempotency_record(request, results, now)
                change_set = ChangeSet([], [], [], [] if record is None else [(record,)])
            if len(change_set):
                if plan.before_write is not None:
                    await plan.before_write(results)
                await store.write(change_set)
            return results

        if prepared is None:
            return await self.store.atomically(work, keys=keys)
        results, change_set = prepared

        async def write_prepared(store: Store) -> list[Result]:
            await store.write(change_set)
            return results

        return await self.store.atomically(work, keys=keys, prepared=write_prepared)

    async def _read(self, store: Store, plan: WritePlan) -> Ledger:
        """Return a ledger that has read everything the plan may touch."""
        ledger = self._ledger()
        ids, external_ids = set(plan.ids), set(plan.external_ids)
        for operation in plan.operations:
            match operation:
                case Update() | Create():
                    if isinstance(operation, Update):
                        ids.add(operation.id)
                    if isinstance(operation.patch.external_id, str):
                        external_ids.add(operation.patch.external_id)
                case Upsert():
                    external_ids.add(operation.external_id)
                case Delete() | StartVerification() | CheckVerification() | SetVerification():
                    ids.add(operation.id)
        if ids:
            ledger.read(await store.find_by_ids(ids))
        if external_ids:
            ledger.read(await store.find_by_external_ids(external_ids))
        if plan.client_id is not None:
            ledger.read(await store.find_of_client(plan.client_id))
        if slots := ledger.slots_to_take(plan.operations):
            ledger.read(await store.find_primaries(slots))
        for slot in ledger.slots_to_inherit(plan.operations):
            ledger.read(await store.find_in_slot(slot))
        return ledger

    def _ledger(self) -> Ledger:
        return Ledger(self.rules, now=self.clock(), make_id=self.make_id, secrets=self.secrets())


def _applied(plan: WritePlan, ledger: Ledger, request: RequestFingerprint | None) -> tuple[list[Result], ChangeSet]:
    """Apply a plan; return its results and what has to be stored."""
    results = ledger.settled(plan.apply(ledger))
    return results, ledger.change_set(_idempotency_record(request, results, ledger.now))


def _idempotency_record(
    request: RequestFingerprint | None, results: Sequence[Result], now: datetime
) -> IdempotencyRecord | None:
    """Return the idempotency record of a request; None if all of it failed, since it may be tried again."""
    if request is None or _all_failed(results):
        return None
    return IdempotencyRecord(request, now, outcomes_of(results))


def _state(record: ContactMethod) -> tuple[str, str | None, list[str]]:
    """Return what identifies a state of a record: its etags, and the requests that it remembers."""
    challenge_etag = None if record.challenge is None else record.challenge.etag
    return record.etag, challenge_etag, [request.fingerprint.id for request in record.requests]


def _all_failed(results: Sequence[Result]) -> bool:
    return bool(results) and all(isinstance(result, ContactsvcError) for result in results)
