"""The ledger: writes applied one after the other to what was read, in memory, and the difference to be stored.

Every write goes through it, alone or in a batch, so that the rules of what a write does stand in one place, and a batch
does exactly what its items would do one by one. It is pure: whoever uses it reads beforehand what the operations may
touch (`slots_to_take` and `slots_to_inherit` say what), and stores the difference afterwards.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime

from contactsvc.domain import validation
from contactsvc.domain.change_set import ChangeSet
from contactsvc.domain.contact_method import ContactMethod, ContactMethodChange, NewContactMethod, changed
from contactsvc.domain.idempotency import IdempotencyRecord, RequestAlreadyApplied, unexpired
from contactsvc.domain.ids import new_etag
from contactsvc.domain.kinds import ContactMethodType, Slot, Unset
from contactsvc.domain.normalization import InvalidValue, ValueRules
from contactsvc.domain.operations import Delete, Operation, Update, Upsert
from contactsvc.domain.outcomes import Action, Applied
from contactsvc.domain.primary import FlagIntent, PrimaryDeletePolicy, flag_intent, next_primary
from contactsvc.domain.record_set import RecordSet
from contactsvc.errors import ContactMethodNotFound, EtagMismatch, ExternalIdTaken, PrimaryRejected

# A record that is written often must not grow with every write: from so many on, its requests are remembered elsewhere.
_MOST_REQUESTS_IN_A_RECORD = 16


class Ledger:
    """Contact methods as they were read, and as they are after the operations applied so far.

    Args:
        rules: how values are read.
        now: the time of the operations.
        make_id: makes the ids of new records.
    """

    def __init__(self, rules: ValueRules, *, now: datetime, make_id: Callable[[], str]) -> None:
        self.now = now
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
        """Tell whether the record was there before the operations."""
        return id_ in self._before

    def slots_to_take(self, operations: Sequence[Operation]) -> set[Slot]:
        """Return the slots of which the primary has to be read before these operations are applied."""
        return {slot for operation in operations for slot in self._slots_to_take(operation, alone=len(operations) == 1)}

    def slots_to_inherit(self, operations: Iterable[Operation]) -> set[Slot]:
        """Return the slots of which all records have to be read, since one of them may follow a deleted primary."""
        return {
            record.slot
            for operation in operations
            if isinstance(operation, Delete) and operation.policy is PrimaryDeletePolicy.PROMOTE_NEXT
            if (record := self._records.find(operation.id)) and record.is_primary
        }

    def apply(self, operation: Operation) -> Applied:
        """Apply an operation; when it raises, it has changed nothing."""
        match operation:
            case NewContactMethod():
                return self.create(operation)
            case Update():
                return self.update(operation.id, operation.change, etag=operation.etag)
            case Delete():
                return self.delete(operation)
            case Upsert():
                return self._upsert(operation)

    def create(self, new: NewContactMethod) -> Applied:
        """Create a record, and demote the present primary if the new one claims the flag.

        Raises:
            ExternalIdTaken: another record has the external id.
        """
        self._check_external_id(new.external_id)
        record = ContactMethod(
            id=self._make_id(),
            client_id=new.client_id,
            type=new.type,
            value=new.value,
            label=new.label,
            is_primary=new.is_primary,
            verified_at=None,
            external_id=new.external_id,
            metadata=new.metadata,
            created_at=self.now,
            updated_at=self.now,
            etag=new_etag(),
        )
        demoted = self._demote(record.slot) if record.is_primary else ()
        self._records.put(record)
        return Applied(Action.CREATED, record.id, demoted, claimed=record.slot if record.is_primary else None)

    def update(self, id_: str, change: ContactMethodChange, *, etag: str) -> Applied:
        """Change a record.

        Raises:
            ContactMethodNotFound: there is no such record.
            EtagMismatch: it has another etag.
            InvalidFields: the change does not go together with what the record has.
            ExternalIdTaken: another record has the external id.
        """
        before = self._records.find(id_)
        if before is None:
            raise ContactMethodNotFound("id")
        self._check_etag(before, etag)
        if not isinstance(change.external_id, Unset):
            self._check_external_id(change.external_id, of=id_)
        slot = before.client_id, before.type if isinstance(change.type, Unset) else change.type
        intent = flag_intent(before, change.is_primary, change.type)
        if intent is FlagIntent.TAKE_IF_FREE and self._records.find_primary(slot) is not None:
            intent = FlagIntent.CLEAR
        after = self._after(before, change, intent)
        claimed = slot if change.is_primary is True else None
        if after is before:
            return Applied(Action.UNCHANGED, id_, claimed=claimed)
        demoted = self._demote(slot, keep=id_) if after.is_primary else ()
        self._records.put(after)
        self._swept_along.discard(id_)
        return Applied(Action.UPDATED, id_, demoted, claimed=claimed)

    def delete(self, operation: Delete) -> Applied:
        """Delete a record, and promote another in its place if the policy says so.

        Raises:
            ContactMethodNotFound: there is no such record, and that is not allowed.
            EtagMismatch: it has another etag.
            PrimaryRejected: it is primary, and the policy says no.
        """
        present = self._records.find(operation.id)
        if present is None:
            if operation.allow_missing:
                return Applied(Action.DELETED, operation.id)
            raise ContactMethodNotFound("id")
        self._check_etag(present, operation.etag)
        if present.is_primary and operation.policy is PrimaryDeletePolicy.REJECT:
            raise PrimaryRejected
        self._records.remove(present)
        heir = None
        if present.is_primary and operation.policy is PrimaryDeletePolicy.PROMOTE_NEXT:
            heir = next_primary(record for record in self._records if record.slot == present.slot)
        if heir is None:
            return Applied(Action.DELETED, present.id)
        self._records.put(changed(heir, {"is_primary": True}, now=self.now, etag=new_etag()))
        return Applied(Action.DELETED, present.id, promoted_id=heir.id)

    def net(self, applied: Applied) -> Applied:
        """Return what came of an operation, seen from the end: others may have changed its record before or after."""
        before, after = self._before.get(applied.id), self._records.find(applied.id)
        if after is None:
            return applied
        action = Action.CREATED if before is None else Action.UNCHANGED if after is before else Action.UPDATED
        return replace(applied, action=action)

    def difference(self, request: IdempotencyRecord | None) -> ChangeSet:
        """Return what has to be stored, with the request that it came from.

        A request of one operation that writes one record is remembered in that record, so that it stays one write.
        What came of several may be long, and would make every read of the record slow.

        Raises:
            RequestAlreadyApplied: that record remembers the request already, which no unique index would mind.
        """
        self._restore_what_came_full_circle()
        inserted = [record for record in self._records if record.id not in self._before]
        replaced = [
            (before, replace(after, requests=unexpired(after.requests, self.now)))
            for before, after in self._pairs()
            if after is not before
        ]
        removed = [
            replace(before, requests=unexpired(before.requests, self.now))
            for id_, before in self._before.items()
            if id_ not in self._records
        ]
        memories: list[tuple[IdempotencyRecord, ...]] = []
        if request is not None:
            known = (old for record in (*removed, *(after for _, after in replaced)) for old in record.requests)
            if any(old.mark.id == request.mark.id for old in known):
                raise RequestAlreadyApplied
            if len(inserted) + len(replaced) + len(removed) != 1 or len(request.outcomes) != 1:
                memories.append((request,))
            elif inserted:
                inserted = [replace(inserted[0], requests=(request,))]
            elif removed:
                removed = [replace(removed[0], requests=(*removed[0].requests, request))]
            else:
                before, after = replaced[0]
                requests = (*after.requests, request)
                if len(requests) > _MOST_REQUESTS_IN_A_RECORD:
                    memories.append(requests)
                    requests = ()
                replaced = [(before, replace(after, requests=requests))]
        return ChangeSet(inserted, replaced, removed, memories)

    def _upsert(self, operation: Upsert) -> Applied:
        present = self.find_by_external_id(operation.external_id)
        if present is None:
            if operation.etag:
                raise EtagMismatch
            new = operation.description.as_new(operation.client_id)
            return self.create(replace(new, external_id=operation.external_id))
        if present.client_id != operation.client_id:
            raise ExternalIdTaken(present.id)
        return self.update(present.id, operation.description.as_change(), etag=operation.etag)

    def _after(self, before: ContactMethod, change: ContactMethodChange, intent: FlagIntent) -> ContactMethod:
        """Return the record after the change; raise InvalidFields when the two do not go together."""
        problems = validation.Violations()
        after: dict[str, object] = {
            name: wanted
            for name in ("type", "label", "external_id")
            if not isinstance(wanted := getattr(change, name), Unset)
        }
        new_type = before.type if isinstance(change.type, Unset) else change.type
        text = before.value.text if isinstance(change.value, Unset) else change.value
        if text != before.value.text or new_type is not before.type:
            try:
                after["value"] = self._rules.read(new_type, text)
            except InvalidValue as error:
                if isinstance(change.value, Unset):
                    problems.add("type", f"the present value does not fit: {error}")
                else:
                    problems.add("value", str(error))
        if not isinstance(change.metadata, Unset):
            after["metadata"] = pairs = change.metadata.applied_to(before.metadata)
            if len(pairs) > validation.MAX_METADATA_PAIRS:
                problems.add("metadata", f"must have at most {validation.MAX_METADATA_PAIRS} pairs after the update")
        problems.raise_if_any()
        if intent is not FlagIntent.KEEP:
            after["is_primary"] = intent is not FlagIntent.CLEAR
        return changed(before, after, now=self.now, etag=new_etag())

    def _slots_to_take(self, operation: Operation, *, alone: bool) -> Iterable[Slot]:
        match operation:
            case NewContactMethod():
                return [operation.slot] if operation.is_primary else []
            case Update():
                record, change = self._records.find(operation.id), operation.change
            case Upsert():
                record, change = self.find_by_external_id(operation.external_id), operation.description.as_change()
                if record is None:
                    slot = operation.client_id, operation.description.type
                    return [slot] if change.is_primary is True else []
            case Delete():
                return []
        if record is None:
            return []
        intent = flag_intent(record, change.is_primary, change.type)
        if change.is_primary is not True and intent not in {FlagIntent.TAKE, FlagIntent.TAKE_IF_FREE}:
            return []
        if alone:
            return [(record.client_id, record.type if isinstance(change.type, Unset) else change.type)]
        # The operations before this one may have changed the type.
        return [(record.client_id, type_) for type_ in ContactMethodType]

    def _check_etag(self, present: ContactMethod, etag: str) -> None:
        # A record that lost the flag to another item of the same request is still the one that its caller has seen.
        seen = self._before[present.id] if present.id in self._swept_along else present
        if etag and etag not in {seen.etag, present.etag}:
            raise EtagMismatch

    def _check_external_id(self, external_id: str | None, *, of: str | None = None) -> None:
        holder = self._records.find_by_external_id(external_id)
        if holder is not None and holder.id != of:
            raise ExternalIdTaken(holder.id)

    def _demote(self, slot: Slot, *, keep: str | None = None) -> tuple[str, ...]:
        holder = self._records.find_primary(slot)
        if holder is None or holder.id == keep:
            return ()
        if holder is self._before.get(holder.id):
            self._swept_along.add(holder.id)
        self._records.put(changed(holder, {"is_primary": False}, now=self.now, etag=new_etag()))
        return (holder.id,)

    def _restore_what_came_full_circle(self) -> None:
        """Give back its etag to a record that was changed and changed back: an etag changes with its record only."""
        for before, after in list(self._pairs()):
            if after is not before and replace(after, etag=before.etag, updated_at=before.updated_at) == before:
                self._records.put(before)

    def _pairs(self) -> Iterator[tuple[ContactMethod, ContactMethod]]:
        for id_, before in self._before.items():
            after = self._records.find(id_)
            if after is not None:
                yield before, after
