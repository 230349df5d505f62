"""How a write is carried out: read what it may touch, apply it in a ledger, store the difference.

A difference of one document is stored in one write that a racing write makes fail, and then it is all done again on
what is there now. Any other takes a transaction. A request with an id is carried out once: its memory is part of the
difference, and no two documents may remember one request, so that of two equal requests one finds the other remembered.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

from contactsvc.domain.change_set import ChangeSet
from contactsvc.domain.clock import Clock
from contactsvc.domain.contact_method import ContactMethod, NewContactMethod
from contactsvc.domain.idempotency import IdempotencyRecord, RequestAlreadyApplied, RequestFingerprint
from contactsvc.domain.ledger import Ledger
from contactsvc.domain.normalization import ValueRules
from contactsvc.domain.operations import Delete, Operation, Update, Upsert, contested_by
from contactsvc.domain.outcomes import Action, Applied, Outcome
from contactsvc.errors import (
    ContactsvcError,
    DeadlineExceeded,
    EtagMismatch,
    RequestIdReused,
    StoreUnavailable,
    TransactionsUnsupported,
)
from contactsvc.service.ports import LostRace, Store

# How often a write of one document is tried before it takes turns with those that it keeps losing against.
_ATTEMPTS = 2
# How often a request is found remembered, and then not, before its caller is told to come back.
_RECALLS = 10


@dataclass(frozen=True, slots=True)
class WritePlan:
    """A write to be carried out.

    Attributes:
        apply: applies it to a ledger; when it raises, nothing is to be stored.
        operations: what it consists of, as far as that says what has to be read.
        ids: further records to be read.
        external_ids: further records to be read, by their external ids.
        client_id: the client of whom everything has to be read.
        keys: what it may fight over with other writes.
    """

    apply: Callable[[Ledger], Sequence[Outcome]]
    operations: Sequence[Operation] = ()
    ids: frozenset[str] = frozenset()
    external_ids: frozenset[str] = frozenset()
    client_id: str | None = None
    keys: frozenset[Hashable] = frozenset()

    @staticmethod
    def of_one(operation: Operation) -> WritePlan:
        """Return the task of a single operation."""
        return WritePlan(lambda ledger: [ledger.apply(operation)], [operation])


@dataclass(frozen=True, slots=True)
class WriteResult:
    """What came of a task, and the records concerned as they are now."""

    outcomes: Sequence[Outcome]
    record: Callable[[str], ContactMethod | None]


@dataclass(frozen=True, slots=True)
class Writes:
    """Carries out the writes of one environment."""

    store: Store
    rules: ValueRules
    clock: Clock
    make_id: Callable[[], str]

    async def carry_out(self, task: WritePlan, request: RequestFingerprint | None) -> WriteResult:
        """Carry out a task, once if it has a request.

        Raises:
            RequestIdReused: the request's id belongs to another request.
            TransactionsUnsupported: there is a request, and the database cannot remember it with what it changes.
            ContactsvcError: what the task itself raises.
        """
        if request is None:
            return await self._attempt(task, None)
        if not self.store.transactional:
            raise TransactionsUnsupported("a request_id")
        for _ in range(_RECALLS):
            with suppress(RequestAlreadyApplied):
                return await self._attempt_or_recall(task, request)
            remembered = await self.store.find_request(request.id)
            if remembered is not None:
                if remembered.forget_at > self.clock():
                    return await self._recall(request, remembered)
                await self.store.forget(remembered)
        raise EtagMismatch

    async def dry_run(self, task: WritePlan) -> Sequence[Outcome]:
        """Return what would come of a task now; store nothing."""
        return task.apply(await self._read(self.store, task))

    async def _attempt_or_recall(self, task: WritePlan, request: RequestFingerprint) -> WriteResult:
        """Attempt the task; when it fails on what it has itself done before, let that be found."""
        try:
            done = await self._attempt(task, request)
        except (StoreUnavailable, DeadlineExceeded):
            raise
        except ContactsvcError:
            await self._raise_if_remembered(request)
            raise
        if _all_failed(done.outcomes):
            await self._raise_if_remembered(request)
        return done

    async def _raise_if_remembered(self, request: RequestFingerprint) -> None:
        remembered = await self.store.find_request(request.id)
        if remembered is not None and remembered.forget_at > self.clock():
            raise RequestAlreadyApplied

    async def _recall(self, request: RequestFingerprint, remembered: IdempotencyRecord) -> WriteResult:
        if remembered.mark != request:
            raise RequestIdReused
        ids = {
            outcome.id
            for outcome in remembered.outcomes
            if isinstance(outcome, Applied) and outcome.action is not Action.DELETED
        }
        records = {record.id: record for record in await self.store.find_by_ids(ids)} if ids else {}
        return WriteResult(remembered.outcomes, records.get)

    async def _attempt(self, task: WritePlan, request: RequestFingerprint | None) -> WriteResult:
        keys = set(task.keys)
        if request is not None:
            keys.add(("request", request.id))
        # Several operations need a transaction anyhow, and a first look outside would be in vain.
        if len(task.operations) == 1 or not self.store.transactional:
            # While nobody holds the slot and the external id, all that a create takes is one write.
            blindly = isinstance(next(iter(task.operations), None), NewContactMethod)
            for attempt in range(_ATTEMPTS):
                ledger = self._ledger() if blindly and attempt == 0 else await self._read(self.store, task)
                outcomes = task.apply(ledger)
                difference = ledger.difference(_memory(request, outcomes, ledger.now))
                if len(difference) > 1:
                    keys |= difference.contested
                    break
                try:
                    if len(difference):
                        await self.store.write(difference)
                except LostRace:
                    if not await self._was_made(difference):
                        continue
                return WriteResult(outcomes, ledger.find)
            for operation in task.operations:
                keys |= contested_by(operation)
        return await self._attempt_together(task, request, keys)

    async def _was_made(self, difference: ChangeSet) -> bool:
        """Tell whether a write of one record that seems to have lost a race has been made all the same.

        A driver repeats a write whose answer was lost with the connection. MongoDB knows it again, but a database that
        does not (the embedded one after a restart) finds the record changed by the first time. The etag tells whose
        change it was: it is fresh with every write.
        """
        written = [*difference.inserted, *(after for _, after in difference.replaced)]
        if not written:
            return False
        present = await self.store.find(written[0].id)
        return present is not None and present.etag == written[0].etag

    async def _attempt_together(
        self, task: WritePlan, request: RequestFingerprint | None, keys: set[Hashable]
    ) -> WriteResult:
        async def work(store: Store) -> WriteResult:
            ledger = await self._read(store, task)
            outcomes = task.apply(ledger)
            difference = ledger.difference(_memory(request, outcomes, ledger.now))
            if len(difference):
                await store.write(difference)
            return WriteResult(outcomes, ledger.find)

        return await self.store.atomically(work, keys=keys)

    async def _read(self, store: Store, task: WritePlan) -> Ledger:
        """Return a ledger that has read all that the task may touch."""
        ledger = self._ledger()
        ids, external_ids = set(task.ids), set(task.external_ids)
        for operation in task.operations:
            match operation:
                case NewContactMethod(external_id=str(external_id)) | Upsert(external_id=external_id):
                    external_ids.add(external_id)
                case Update():
                    ids.add(operation.id)
                    if isinstance(operation.change.external_id, str):
                        external_ids.add(operation.change.external_id)
                case Delete():
                    ids.add(operation.id)
        if ids:
            ledger.read(await store.find_by_ids(ids))
        if external_ids:
            ledger.read(await store.find_by_external_ids(external_ids))
        if task.client_id is not None:
            ledger.read(await store.find_of_client(task.client_id))
        if slots := ledger.slots_to_take(task.operations):
            ledger.read(await store.find_primaries(slots))
        for slot in ledger.slots_to_inherit(task.operations):
            ledger.read(await store.find_in_slot(slot))
        return ledger

    def _ledger(self) -> Ledger:
        return Ledger(self.rules, now=self.clock(), make_id=self.make_id)


def _memory(request: RequestFingerprint | None, outcomes: Sequence[Outcome], now: datetime) -> IdempotencyRecord | None:
    """Return what is to be remembered of a request: nothing when all of it failed, for that may be tried again."""
    if request is None or _all_failed(outcomes):
        return None
    return IdempotencyRecord(request, now, tuple(outcomes))


def _all_failed(outcomes: Sequence[Outcome]) -> bool:
    return bool(outcomes) and all(isinstance(outcome, ContactsvcError) for outcome in outcomes)
