"""Any list, imported again under other rules, creates nothing and keeps every record."""

from __future__ import annotations

import asyncio
import csv
import io
from collections.abc import Awaitable, Callable, Collection, Hashable, Sequence
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from contactsvc.domain.change_set import ChangeSet
from contactsvc.domain.contact_method import ContactMethod
from contactsvc.domain.kinds import ContactValue
from contactsvc.domain.normalization import InvalidValue, ValueRules
from contactsvc.errors import EtagMismatch
from contactsvc.service.ports import LostRace
from contactsvc.transfer.csv_rows import CsvSource
from contactsvc.transfer.importer import Counts, Importer, ImportTarget, OnConflict
from tests.unit.transfer_records import NOON


class MemoryTarget:
    """Contact methods in memory, with the rules that unique indexes hold."""

    def __init__(self) -> None:
        self.records: dict[str, ContactMethod] = {}

    def _where(self, test: Callable[[ContactMethod], bool]) -> list[ContactMethod]:
        return [record for record in self.records.values() if test(record)]

    @property
    def transactional(self) -> bool:
        return True

    async def find_by_ids(self, ids: Collection[str]) -> list[ContactMethod]:
        return self._where(lambda record: record.id in ids)

    async def find_by_external_ids(self, external_ids: Collection[str]) -> list[ContactMethod]:
        return self._where(lambda record: record.external_id in external_ids)

    async def find_of_clients(self, client_ids: Collection[str]) -> list[ContactMethod]:
        return self._where(lambda record: record.client_id in client_ids)

    async def find_primaries(self, slots: Collection[Any]) -> list[ContactMethod]:
        return self._where(lambda record: record.is_primary and record.slot in slots)

    async def find_idempotency_records(self, ids: Collection[str]) -> dict[str, Any]:
        return {}

    async def write(self, changes: ChangeSet) -> None:
        after = {**self.records, **{record.id: record for _, record in changes.replaced}}
        if any(record.id in after for record in changes.inserted):
            raise LostRace(EtagMismatch())
        after |= {record.id: record for record in changes.inserted}
        slots = [record.slot for record in after.values() if record.is_primary]
        external_ids = [record.external_id for record in after.values() if record.external_id is not None]
        if len(set(slots)) != len(slots) or len(set(external_ids)) != len(external_ids):
            raise LostRace(EtagMismatch())
        self.records = after

    async def atomically(self, work: Callable[[ImportTarget], Awaitable[Any]], *, keys: Collection[Hashable]) -> Any:
        for _ in range(3):
            try:
                return await work(self)
            except LostRace as error:
                lost = error
        raise lost.outcome

    def renew(self, rules: ValueRules) -> None:
        """Derive every normal form anew where these rules can, as doctor does."""
        for id_, record in self.records.items():
            try:
                value = ContactValue(record.value.text, rules.normalize(record.type, record.value.text))
            except InvalidValue:
                continue
            values = {name: getattr(record, name) for name in record.__dataclass_fields__}
            self.records[id_] = ContactMethod(**{**values, "value": value, "etag": record.etag + "+"})


RULES = st.builds(ValueRules, st.sampled_from([None, "MX", "US", "DE"]), st.booleans())
VALUES = {
    "phone": [
        "55 1234 5678",
        "+52 55 1234 5678",
        "+525512345678",
        "5512345678",
        "044 55 1234 5678",
        "nobody",
        "NOBODY",
    ],
    "fax": ["55 1234 5678", "030 123456"],
    "email": ["a@example.com", "A@Example.com", "b@example.com", "nobody"],
    "other": ["a", "A", "e\u0301", "\u00e9"],
}
ROWS = st.sampled_from(list(VALUES)).flatmap(
    lambda type_: st.tuples(
        st.sampled_from(["c1", "c1", "c2"]),
        st.just(type_),
        st.sampled_from(VALUES[type_]),
        st.sampled_from(["", "", "Desk"]),
        st.sampled_from(["", "", "true"]),
        st.booleans(),
    )
)


def list_of(rows: Sequence[tuple[str, str, str, str, str, bool]], *, between: int) -> bytes:
    file = io.StringIO(newline="")
    writer = csv.writer(file)
    writer.writerow(["client_id", "type", "value", "label", "is_primary", "external_id"])
    # Rows of other clients in between put equal ones into different batches.
    for i, (*cells, has_external_id) in enumerate(rows):
        writer.writerow([*cells, f"x{i}" if has_external_id else ""])
        writer.writerows([f"other{j}", "other", "x", "", "", ""] for j in range(between))
    return file.getvalue().encode()


def imported(target: MemoryTarget, content: bytes, rules: ValueRules) -> Counts:
    importer = Importer(
        target,
        on_conflict=OnConflict.UPDATE,
        stop_on_error=False,
        on_message=lambda line: None,
        on_progress=lambda done: None,
        now=NOON,
    )
    asyncio.run(importer.run(CsvSource(io.BytesIO(content)).rows(rules, NOON)))
    return importer.counts


@settings(deadline=None)
@given(
    rows=st.lists(ROWS, max_size=8),
    between=st.sampled_from([0, 0, 0, 0, 0, 0, 130]),
    first=st.builds(ValueRules, st.sampled_from([None, "MX", "US", "DE"]), st.just(True)) | RULES,
    later=st.lists(st.tuples(RULES, st.booleans()), min_size=1, max_size=3),
)
def test_a_list_imported_again_creates_nothing(
    rows: list[tuple[str, str, str, str, str, bool]],
    between: int,
    first: ValueRules,
    later: list[tuple[ValueRules, bool]],
) -> None:
    target = MemoryTarget()
    content = list_of(rows, between=between)
    counts = imported(target, content, first)
    written = target.records

    for rules, renews in later:
        if renews:
            target.renew(rules)
        again = imported(target, content, rules)

        assert written.keys() <= target.records.keys()
        # A row that failed may succeed by other rules.
        if not counts.failed:
            assert again.created == 0
            assert {id_: identity(record) for id_, record in target.records.items()} == {
                id_: identity(record) for id_, record in written.items()
            }


def identity(record: ContactMethod) -> tuple[object, ...]:
    return record.client_id, record.type, record.value.text, record.external_id, record.label, record.is_primary
