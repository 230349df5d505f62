"""A sync: makes the records of one client match a list."""

from __future__ import annotations

from collections.abc import Hashable
from functools import partial

from contactsvc.domain.batch import Step, apply_in_order, raise_refusal
from contactsvc.domain.contact_method import ContactMethod
from contactsvc.domain.equality import identities, searched_identities
from contactsvc.domain.kinds import ContactMethodType, ContactValue, UnreadableValue
from contactsvc.domain.ledger import Ledger
from contactsvc.domain.operations import Delete, Sync, SyncItem
from contactsvc.domain.patch import Patch
from contactsvc.domain.results import Result
from contactsvc.errors import (
    ContactMethodNotFound,
    ContactsvcError,
    EtagMismatch,
    ExternalIdTaken,
    FieldViolation,
    InvalidFields,
)


def apply_sync(ledger: Ledger, sync: Sync) -> list[Result]:
    """Apply a sync and return the result for each record: deletions first, then the items in their order.

    The ledger must have read all records of the client, and those with the ids and external ids of the items.

    Raises:
        ContactsvcError: items failed, and nothing is to be stored; names all of them.
    """
    matches = _Matches(ledger, sync)
    deletions: list[tuple[str, Step]] = [
        (path, partial(_delete, ledger, path, Delete(record.id, etag=item.etag)))
        for path, item, record in matches.deletions
    ]
    writes: list[tuple[str, Step]] = []
    for path, item in matches.items:
        if (error := matches.refused.get(path)) is not None:
            writes.append((path, partial(_fail, error)))
        elif not item.delete:
            present = matches.by_path.get(path)
            writes.append((path, partial(_write, ledger, sync.client_id, path, item, present)))
    if sync.replace:
        left_over = [record.id for record in ledger.of_client(sync.client_id) if record.id not in matches.taken]
        deletions += [(id_, partial(_delete, ledger, "items", Delete(id_))) for id_ in left_over]
    results = apply_in_order(ledger, deletions + writes)
    raise_refusal(ledger, results)
    # Another item may have taken the primary flag from a record that its own item left alone.
    return ledger.settled(results, net=True)


def _fail(error: ContactsvcError) -> Result:
    return error


def _delete(ledger: Ledger, path: str, delete: Delete) -> Result:
    try:
        return ledger.delete(delete)
    except ContactsvcError as error:
        return error.below(path)


def _write(ledger: Ledger, client_id: str, path: str, item: SyncItem, present: ContactMethod | None) -> Result:
    if item.patch is None:
        raise ValueError("an item without a patch can only delete")
    try:
        if present is not None:
            return ledger.update(present.id, item.patch, etag=item.etag)
        if item.etag:
            raise EtagMismatch
        return ledger.create(client_id, item.patch)
    except ContactsvcError as error:
        return error.below(path)


class _Matches:
    """The record that each item matches: by id, then by external id, then by type and value.

    Of several records with one value the oldest is matched first, so that the same sync again finds the records that it
    made.

    Attributes:
        items: the items with their paths.
        by_path: the records that items match, except those to be deleted.
        deletions: the records that items delete; an item that names a type and value deletes all records that have it.
        refused: the errors of items that cannot be matched, by path.
        taken: the paths of matching items, by the ids of their records.
    """

    def __init__(self, ledger: Ledger, sync: Sync) -> None:
        self.items = [(f"items[{position}]", item) for position, item in enumerate(sync.items)]
        self.by_path: dict[str, ContactMethod] = {}
        self.deletions: list[tuple[str, SyncItem, ContactMethod]] = []
        self.refused: dict[str, ContactsvcError] = {}
        self.taken: dict[str, str] = {}
        self._client_id = sync.client_id
        self._refuse_contradictions()
        for path, item in self._unmatched():
            if item.id is not None:
                self._match(path, item, ledger.find(item.id), ContactMethodNotFound("id"), may_be_missing=item.delete)
        for path, item in self._unmatched():
            if item.id is None and item.external_id is not None:
                present = ledger.find_by_external_id(item.external_id)
                of_another: ContactsvcError = ContactMethodNotFound("external id")
                if present is not None and not item.delete:
                    # What it describes would be a new record, whose external id is taken.
                    of_another = ExternalIdTaken(present.id)
                self._match(path, item, present, of_another, may_be_missing=True)
        self._match_by_value(ledger)
        self._refuse_unreadable_values()

    def _match_by_value(self, ledger: Ledger) -> None:
        """Match items by type and value. An item takes no record whose external id differs from its own."""
        searches = [
            (path, item, searched_identities(*_value_of(item.patch)))
            for path, item in self._unmatched()
            if item.patch is not None and item.id is None
        ]
        # Only of what is searched for: the client may have many more records than the sync has items.
        by_identity: dict[Hashable, list[int]] = {key: [] for _, _, keys in searches for key in keys}
        if not by_identity:
            return
        records = ledger.of_client(self._client_id)
        for age, record in enumerate(records):
            for key in identities(record.type, record.value):
                if (ages_of_key := by_identity.get(key)) is not None:
                    ages_of_key.append(age)
        for path, item, keys in searches:
            ages = {age for key in keys for age in by_identity[key]}
            free = [
                record
                for record in (records[age] for age in sorted(ages))
                if record.id not in self.taken
                and (item.external_id is None or record.external_id in {None, item.external_id})
            ]
            for record in free if item.delete else free[:1]:
                self._take(path, item, record)

    def _refuse_contradictions(self) -> None:
        """Refuse items that name one record twice, whether it exists or not, or delete a value that others write."""
        named: dict[tuple[str, object], str] = {}
        for path, item in self.items:
            for name in (("id", item.id), ("external id", item.external_id)):
                if name[1] is not None:
                    self._refuse_if_another(path, named.setdefault(name, path))
        written = {
            key: path
            for path, item in self.items
            if item.patch is not None and not item.delete
            for key in identities(*_value_of(item.patch))
        }
        for path, item in self.items:
            if item.patch is not None and item.delete:
                for key in searched_identities(*_value_of(item.patch)):
                    self._refuse_if_another(path, written.get(key, path))

    def _refuse_unreadable_values(self) -> None:
        """Refuse values that cannot be read and that no record has; that is wrong with an item before all else."""
        for path, item in self.items:
            if item.patch is not None and not item.delete:
                try:
                    item.patch.check_value_upon(self.by_path.get(path))
                except InvalidFields as error:
                    self.refused[path] = error.below(path)

    def _unmatched(self) -> list[tuple[str, SyncItem]]:
        matched = {*self.refused, *self.by_path, *(path for path, _, _ in self.deletions)}
        return [(path, item) for path, item in self.items if path not in matched]

    def _match(
        self,
        path: str,
        item: SyncItem,
        record: ContactMethod | None,
        refusal: ContactsvcError,
        *,
        may_be_missing: bool,
    ) -> None:
        if record is None and may_be_missing:
            return
        if record is None or record.client_id != self._client_id:
            self.refused[path] = refusal.below(path)
        elif record.id in self.taken:
            self._refuse_if_another(path, self.taken[record.id])
        else:
            self._take(path, item, record)

    def _take(self, path: str, item: SyncItem, record: ContactMethod) -> None:
        self.taken[record.id] = path
        if item.delete:
            self.deletions.append((path, item, record))
        else:
            self.by_path[path] = record

    def _refuse_if_another(self, path: str, other: str) -> None:
        if other != path:
            rule = f"names the same contact method as {other}"
            self.refused[path] = InvalidFields([FieldViolation(path, rule)])


def _value_of(patch: Patch) -> tuple[ContactMethodType, ContactValue | UnreadableValue]:
    if not isinstance(patch.type, ContactMethodType) or not isinstance(patch.value, ContactValue | UnreadableValue):
        raise TypeError("an item of a sync needs a type and a value")
    return patch.type, patch.value
