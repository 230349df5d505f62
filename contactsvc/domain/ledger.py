"""The ledger: applies writes one after the other, in memory, to the records that were read.

Every write goes through it, alone or in a batch: the rules of writes have one place, and a batch does exactly what its
items would do one by one. It does no I/O: the caller first reads what the operations may touch (see `slots_to_take` and
`slots_to_inherit`), and afterwards stores the change set.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime

from contactsvc.domain.change_set import ChangeSet
from contactsvc.domain.contact_method import ContactMethod, changed, same_content
from contactsvc.domain.idempotency import IdempotencyRecord, RequestAlreadyApplied, unexpired
from contactsvc.domain.ids import new_etag
from contactsvc.domain.kinds import ContactMethodType, Slot, Unset
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
    slot_claimed_by,
)
from contactsvc.domain.outcomes import Action
from contactsvc.domain.patch import Patch
from contactsvc.domain.primary import FlagIntent, PrimaryDeletePolicy, flag_intent, next_primary
from contactsvc.domain.record_set import RecordSet
from contactsvc.domain.results import Challenged, Checked, Deleted, Result, Written
from contactsvc.domain.verification import VerificationSecrets
from contactsvc.domain.verifying import checked, started, verification_set
from contactsvc.errors import ContactMethodNotFound, EtagMismatch, ExternalIdTaken, PrimaryRejected

# Keeps a record that is written often from growing with every write; further requests go to documents of their own.
_MAX_REQUESTS_PER_RECORD = 16


class Ledger:
    """Contact methods as they were read, and as they are after the operations applied so far.

    Args:
        rules: the rules for values.
        now: the time of the operations.
        make_id: makes the ids of new records.
        secrets: derive the codes of challenges.
    """

    def __init__(
        self, rules: ValueRules, *, now: datetime, make_id: Callable[[], str], secrets: VerificationSecrets
    ) -> None:
        self.now = now
        self._secrets = secrets
        self._rules = rules
        self._make_id = make_id
        self._before: dict[str, ContactMethod] = {}
        self.reset()

    def reset(self) -> None:
        """Undo all operations."""
        self._records = RecordSet(self._before.values())
        self._swept_along: set[str] = set()

    def read(self, records: Iterable[ContactMethod]) -> None:
        """Take in stored records; only before the first operation."""
        for record in records:
            self._before[record.id] = record
            self._records.put(record)

    def of_client(self, client_id: str) -> list[ContactMethod]:
        """Return the client's records as they are now, oldest first."""
        found = [record for record in self._records if record.client_id == client_id]
        return sorted(found, key=lambda record: (record.created_at, record.id))

    def find(self, id_: str) -> ContactMethod | None:
        """Return the record with this id as it is now."""
        return self._records.find(id_)

    def find_by_external_id(self, external_id: str) -> ContactMethod | None:
        """Return the record with this external id as it is now."""
        return self._records.find_by_external_id(external_id)

    def was_stored(self, id_: str) -> bool:
        """Return whether the record was stored before the operations."""
        return id_ in self._before

    def slots_to_take(self, operations: Sequence[Operation]) -> set[Slot]:
        """Return the slots whose primary has to be read before these operations are applied."""
        return {slot for operation in operations for slot in self._slots_to_take(operation, alone=len(operations) == 1)}

    def slots_to_inherit(self, operations: Iterable[Operation]) -> set[Slot]:
        """Return the slots whose records all have to be read, since one of them may follow a deleted primary."""
        return {
            record.slot
            for operation in operations
            if isinstance(operation, Delete) and operation.policy is PrimaryDeletePolicy.PROMOTE_NEXT
            if (record := self._records.find(operation.id)) and record.is_primary
        }

    def apply(self, operation: Operation) -> Written | Deleted | Challenged | Checked:
        """Apply an operation; when it raises, it has changed nothing."""
        match operation:
            case Create():
                return self.create(operation.client_id, operation.patch)
            case Update():
                return self.update(operation.id, operation.patch, etag=operation.etag)
            case Delete():
                return self.delete(operation)
            case Upsert():
                return self._upsert(operation)
            case StartVerification():
                return self._start_verification(operation)
            case CheckVerification():
                return self._check_verification(operation)
            case SetVerification():
                return self._set_verification(operation)

    def create(self, client_id: str, patch: Patch) -> Written:
        """Create a record, and demote the present primary if the new one claims the flag.

        Raises:
            ExternalIdTaken: another record has the external id.
        """
        record = patch.create(id_=self._make_id(), client_id=client_id, etag=new_etag(), now=self.now)
        self._check_external_id(record, record.external_id)
        demoted_ids = self._demote(record.slot) if record.is_primary else ()
        self._records.put(record)
        return Written(record, Action.CREATED, demoted_ids, claimed=record.slot if record.is_primary else None)

    def update(self, id_: str, patch: Patch, *, etag: str) -> Written:
        """Change a record.

        Raises:
            ContactMethodNotFound: there is no such record.
            EtagMismatch: it has another etag.
            InvalidFields: the patch does not fit the record.
            ExternalIdTaken: another record has the external id.
        """
        before = self._present(id_, etag)
        if not isinstance(patch.external_id, Unset):
            self._check_external_id(before, patch.external_id)
        fields = patch.applied_to(before, self._rules)
        intent = flag_intent(before, patch.is_primary, patch.type)
        slot = before.client_id, before.type if isinstance(patch.type, Unset) else patch.type
        if intent is FlagIntent.TAKE_IF_FREE and self._records.find_primary(slot) is not None:
            intent = FlagIntent.CLEAR
        if intent is not FlagIntent.KEEP:
            fields["is_primary"] = intent is not FlagIntent.CLEAR
        after = changed(before, fields, now=self.now, etag=new_etag())
        claimed = slot if patch.is_primary is True else None
        if after is before:
            return Written(before, Action.UNCHANGED, claimed=claimed)
        demoted_ids = self._demote(slot, keep=id_) if after.is_primary else ()
        self._records.put(after)
        self._swept_along.discard(id_)
        return Written(after, Action.UPDATED, demoted_ids, claimed=claimed)

    def delete(self, operation: Delete) -> Deleted:
        """Delete a record; promote another one in its place if the policy requires it.

        Raises:
            ContactMethodNotFound: there is no such record, and `allow_missing` is not set.
            EtagMismatch: it has another etag.
            PrimaryRejected: it is primary, and the policy forbids its deletion.
        """
        present = self._records.find(operation.id)
        if present is None:
            if operation.allow_missing:
                return Deleted(operation.id)
            raise ContactMethodNotFound("id")
        self._check_etag(present, operation.etag)
        if present.is_primary and operation.policy is PrimaryDeletePolicy.REJECT:
            raise PrimaryRejected
        self._records.remove(present)
        heir = None
        if present.is_primary and operation.policy is PrimaryDeletePolicy.PROMOTE_NEXT:
            heir = next_primary(record for record in self._records if record.slot == present.slot)
        if heir is None:
            return Deleted(present.id)
        self._records.put(changed(heir, {"is_primary": True}, now=self.now, etag=new_etag()))
        return Deleted(present.id, promoted_id=heir.id)

    def settled(self, results: Iterable[Result], *, net: bool = False) -> list[Result]:
        """Return results with their records as all operations together leave them; to be called after the last one.

        Args:
            results: what the operations returned.
            net: whether an action is to be what all operations together have done with its record, not its own alone.
        """
        self._restore_unchanged()
        return [self._settled(result, net) if isinstance(result, Written) else result for result in results]

    def change_set(self, request: IdempotencyRecord | None) -> ChangeSet:
        """Return what has to be stored, with the request that it came from.

        A request of one operation that writes one record is stored in that record, which keeps it a single write. The
        outcomes of several operations may be long, and would slow down every read of the record.

        Raises:
            RequestAlreadyApplied: that record already has the request, which no unique index would detect.
        """
        inserted = [record for record in self._records if record.id not in self._before]
        replaced = [
            (before, self._without_expired_requests(after)) for before, after in self._pairs() if after is not before
        ]
        removed = [
            self._without_expired_requests(before) for id_, before in self._before.items() if id_ not in self._records
        ]
        apart: list[tuple[IdempotencyRecord, ...]] = []
        if request is not None:
            known = (old for record in (*removed, *(after for _, after in replaced)) for old in record.requests)
            if any(old.fingerprint.id == request.fingerprint.id for old in known):
                raise RequestAlreadyApplied
            if len(inserted) + len(replaced) + len(removed) != 1 or len(request.outcomes) != 1:
                apart.append((request,))
            elif inserted:
                inserted = [replace(inserted[0], requests=(request,))]
            elif removed:
                removed = [replace(removed[0], requests=(*removed[0].requests, request))]
            else:
                before, after = replaced[0]
                requests = (*after.requests, request)
                if len(requests) > _MAX_REQUESTS_PER_RECORD:
                    apart.append(requests)
                    requests = ()
                replaced = [(before, replace(after, requests=requests))]
        return ChangeSet(inserted, replaced, removed, apart)

    def is_guarded_by(self, change_set: ChangeSet) -> bool:
        """Return whether writing the change set of one operation notices every other write since its records were read.

        Each replacement is guarded by the etag that was read, so that is the case when every record that was read is
        replaced. Unique indexes guard what was found to be free, such as a primary slot. Nothing guards a set of
        records, such as all of a client, on which a single operation depends only when it removes a record.
        """
        return not change_set.removed and len(change_set.replaced) == len(self._before)

    def _settled(self, written: Written, net: bool) -> Written:
        before, after = self._before.get(written.record.id), self._records.find(written.record.id)
        if after is None or (after is written.record and not net):
            return written
        action = Action.CREATED if before is None else Action.UNCHANGED if after is before else Action.UPDATED
        return replace(written, record=after, action=action if net else written.action)

    def _without_expired_requests(self, record: ContactMethod) -> ContactMethod:
        kept = unexpired(record.requests, self.now)
        return record if len(kept) == len(record.requests) else replace(record, requests=kept)

    def _restore_unchanged(self) -> None:
        """Put back records that were changed and changed back: their etag and time change only with their content."""
        for before, after in list(self._pairs()):
            if after is not before and same_content(before, after):
                self._records.put(before)

    def _start_verification(self, operation: StartVerification) -> Challenged:
        after = started(self._present(operation.id, operation.etag), self._secrets, now=self.now)
        self._records.put(after)
        if after.challenge is None:
            raise TypeError("a started verification has a challenge")
        return Challenged(after, after.challenge.id, after.challenge.attempts_left)

    def _check_verification(self, operation: CheckVerification) -> Checked:
        present = self._present(operation.id, "")
        after, verified = checked(present, operation, self._secrets, now=self.now, etag=new_etag())
        if after is not present:
            self._records.put(after)
        if after.challenge is None:
            raise TypeError("a checked verification has a challenge")
        return Checked(after, after.challenge.id, verified, after.challenge.attempts_left)

    def _set_verification(self, operation: SetVerification) -> Written:
        present = self._present(operation.id, operation.etag)
        after = verification_set(present, operation, self._rules, now=self.now, etag=new_etag())
        if after == present:
            return Written(present, Action.UNCHANGED)
        self._records.put(after)
        return Written(after, Action.UPDATED)

    def _present(self, id_: str, etag: str) -> ContactMethod:
        present = self._records.find(id_)
        if present is None:
            raise ContactMethodNotFound("id")
        self._check_etag(present, etag)
        return present

    def _upsert(self, operation: Upsert) -> Written:
        present = self.find_by_external_id(operation.external_id)
        operation.patch.check_value_upon(present if present and present.client_id == operation.client_id else None)
        if present is None:
            if operation.etag:
                raise EtagMismatch
            return self.create(operation.client_id, replace(operation.patch, external_id=operation.external_id))
        if present.client_id != operation.client_id:
            raise ExternalIdTaken(present.id)
        return self.update(present.id, operation.patch, etag=operation.etag)

    def _slots_to_take(self, operation: Operation, *, alone: bool) -> Iterable[Slot]:
        record: ContactMethod | None
        match operation:
            case Delete() | StartVerification() | CheckVerification() | SetVerification():
                return []
            case Create():
                record = None
            case Update():
                record = self._records.find(operation.id)
            case Upsert():
                record = self.find_by_external_id(operation.external_id)
        if record is None:
            slot = slot_claimed_by(operation)
            return [] if slot is None else [slot]
        patch = operation.patch
        intent = flag_intent(record, patch.is_primary, patch.type)
        if patch.is_primary is not True and intent not in {FlagIntent.TAKE, FlagIntent.TAKE_IF_FREE}:
            return []
        if alone:
            return [(record.client_id, record.type if isinstance(patch.type, Unset) else patch.type)]
        # The operations before this one may have changed the type.
        return [(record.client_id, type_) for type_ in ContactMethodType]

    def _check_etag(self, present: ContactMethod, etag: str) -> None:
        # A record that another item of the request has demoted still matches the etag that its caller has seen.
        seen = self._before[present.id] if present.id in self._swept_along else present
        if etag and etag not in {seen.etag, present.etag}:
            raise EtagMismatch

    def _check_external_id(self, record: ContactMethod, wanted: str | None) -> None:
        holder = self._records.find_by_external_id(wanted)
        if holder is not None and holder.id != record.id:
            raise ExternalIdTaken(holder.id)

    def _demote(self, slot: Slot, *, keep: str | None = None) -> tuple[str, ...]:
        holder = self._records.find_primary(slot)
        if holder is None or holder.id == keep:
            return ()
        if holder is self._before.get(holder.id):
            self._swept_along.add(holder.id)
        self._records.put(changed(holder, {"is_primary": False}, now=self.now, etag=new_etag()))
        return (holder.id,)

    def _pairs(self) -> Iterator[tuple[ContactMethod, ContactMethod]]:
        for id_, before in self._before.items():
            after = self._records.find(id_)
            if after is not None:
                yield before, after
