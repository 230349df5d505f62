"""A sync: the records of one client are made what a list says."""

from __future__ import annotations

from collections import defaultdict
from functools import partial

from contactsvc.domain.batch import Outcome, Step, apply_in_order, raise_refusal
from contactsvc.domain.contact_method import ContactMethod, ContactMethodType
from contactsvc.domain.ledger import Ledger
from contactsvc.domain.operations import Applied, Delete, Description, Sync, SyncItem
from contactsvc.errors import ContactMethodNotFound, ContactsvcError, EtagMismatch, FieldViolation, InvalidFields


def apply_sync(ledger: Ledger, sync: Sync) -> list[Outcome]:
    """Apply a sync and return what came of each record: deletions first, then the items in their order.

    The ledger must have read all records of the client, and those with the ids and external ids of the items.

    Raises:
        ContactsvcError: items failed, and nothing is to be stored; names all of them.
    """
    matches = _Matches(ledger, sync)
    deletions: list[tuple[str, Step]] = []
    writes: list[tuple[str, Step]] = []
    for path, item in matches.items:
        present = matches.by_path.get(path)
        if (error := matches.refused.get(path)) is not None:
            writes.append((path, partial(_fail, error)))
        elif not item.delete:
            writes.append((path, partial(_write, ledger, sync.client_id, path, item, present)))
        elif present is not None:
            deletions.append((path, partial(_delete, ledger, path, Delete(present.id, etag=item.etag))))
    if sync.replace:
        kept = {record.id for record in matches.by_path.values()}
        left_over = [record.id for record in ledger.of_client(sync.client_id) if record.id not in kept]
        deletions += [(id_, partial(_delete, ledger, "items", Delete(id_))) for id_ in left_over]
    outcomes = apply_in_order(ledger, deletions + writes)
    raise_refusal(ledger, outcomes)
    # What an item did by itself is not all: another may have taken the primary flag from its record.
    return [ledger.net(outcome) if isinstance(outcome, Applied) else outcome for outcome in outcomes]


def _fail(error: ContactsvcError) -> Outcome:
    return error


def _delete(ledger: Ledger, path: str, delete: Delete) -> Outcome:
    try:
        return ledger.delete(delete)
    except ContactsvcError as error:
        return error.below(path)


def _write(ledger: Ledger, client_id: str, path: str, item: SyncItem, present: ContactMethod | None) -> Outcome:
    if item.description is None:
        raise ValueError("only an item that deletes can be without a description")
    try:
        if present is not None:
            return ledger.update(present.id, item.description.as_change(), etag=item.etag)
        if item.etag:
            raise EtagMismatch
        return ledger.create(item.description.as_new(client_id))
    except ContactsvcError as error:
        return error.below(path)


class _Matches:
    """Which item means which record: by id, then by external id, then by type and value.

    Attributes:
        items: the items with their paths.
        by_path: the records that items match.
        refused: the items that cannot be matched, and why.
    """

    def __init__(self, ledger: Ledger, sync: Sync) -> None:
        self.items = [(f"items[{position}]", item) for position, item in enumerate(sync.items)]
        self.by_path: dict[str, ContactMethod] = {}
        self.refused: dict[str, ContactsvcError] = {}
        self._taken: dict[str, str] = {}
        self._client_id = sync.client_id
        for path, item in self.items:
            if item.id is not None:
                self._match(path, ledger.find(item.id), ContactMethodNotFound("id"), may_be_missing=item.delete)
        for path, item in self.items:
            if item.id is None and item.external_id is not None:
                present = ledger.find_by_external_id(item.external_id)
                self._match(path, present, ContactMethodNotFound("external id"), may_be_missing=True)
        unnamed = defaultdict(list)
        for record in ledger.of_client(sync.client_id):
            unnamed[_target(record)].append(record)
        for path, item in self.items:
            # One that deletes by an external id must not, once that is gone, take another record of the same value.
            named = item.id is not None or (item.delete and item.external_id is not None)
            if item.description is not None and not named and path not in self.by_path and path not in self.refused:
                self._match_one_of(path, unnamed[_target(item.description)])

    def _match(
        self, path: str, record: ContactMethod | None, not_found: ContactMethodNotFound, *, may_be_missing: bool
    ) -> None:
        if record is None and may_be_missing:
            return
        if record is None or record.client_id != self._client_id:
            self.refused[path] = not_found.below(path)
        elif record.id in self._taken:
            rule = f"names the same contact method as {self._taken[record.id]}"
            self.refused[path] = InvalidFields([FieldViolation(path, rule)])
        else:
            self._taken[record.id] = path
            self.by_path[path] = record

    def _match_one_of(self, path: str, records: list[ContactMethod]) -> None:
        free = [record for record in records if record.id not in self._taken]
        if free:
            # Rather one that no other system has a name for; of several the oldest.
            record = min(free, key=lambda candidate: candidate.external_id is not None)
            self._taken[record.id] = path
            self.by_path[path] = record


def _target(described: ContactMethod | Description) -> tuple[ContactMethodType, str | None, str]:
    """Return what two descriptions of one contact have in common: type and normalized value, if there is one."""
    value = described.value
    return described.type, value.normalized, "" if value.normalized else value.text
