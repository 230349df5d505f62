from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Hashable
from contextlib import closing
from dataclasses import replace
from typing import Any

import pytest

from contactsvc.domain.change_set import ChangeSet
from contactsvc.domain.contact_method import ContactMethod
from contactsvc.domain.kinds import ContactMethodType, ContactValue
from contactsvc.errors import FieldViolation, InvalidFields, PrimaryConflict
from contactsvc.transfer.batches import BATCH_SIZE
from contactsvc.transfer.dry_run import DryRunStore
from contactsvc.transfer.importer import Counts, Importer, ImportTarget, OnConflict, Stopped
from contactsvc.transfer.sources import NumberedRow, Row
from tests.unit.test_transfer_matching import MemoryTarget
from tests.unit.transfer_records import NOON, record


class EmptyTarget:
    """An empty target on which another writer wins the first races.

    Args:
        conflicts: the number of races that it wins.
    """

    def __init__(self, conflicts: int = 0) -> None:
        self._conflicts = conflicts
        self.written = 0

    @property
    def transactional(self) -> bool:
        return True

    async def find_by_ids(self, ids: Collection[str]) -> list[ContactMethod]:
        return []

    async def find_by_external_ids(self, external_ids: Collection[str]) -> list[ContactMethod]:
        return []

    async def find_of_clients(self, client_ids: Collection[str]) -> list[ContactMethod]:
        return []

    async def find_primaries(self, slots: Collection[Any]) -> list[ContactMethod]:
        return []

    async def find_idempotency_records(self, ids: Collection[str]) -> dict[str, Any]:
        return {}

    async def write(self, changes: ChangeSet) -> None:
        self.written += len(changes.inserted)

    async def atomically(self, work: Callable[[ImportTarget], Awaitable[Any]], *, keys: Collection[Hashable]) -> Any:
        if self._conflicts:
            self._conflicts -= 1
            raise PrimaryConflict
        return await work(self)


def row(id_: str = "contact_1", *, line: int = 2, is_restore: bool = True, label: str | None = None) -> NumberedRow:
    other = record(id_, type=ContactMethodType.OTHER, value=ContactValue(id_, id_), label=label, metadata={"a": "b"})
    return NumberedRow(line, Row(record=other, is_restore=is_restore), 0, id_)


def importer(target: Any, messages: list[str], **options: Any) -> Importer:
    whole: dict[str, Any] = {"on_conflict": OnConflict.UPDATE, "stop_on_error": False, "now": NOON, **options}
    return Importer(target, on_message=messages.append, on_progress=lambda done: None, **whole)


async def test_an_import_waits_for_another_writer_until_its_timeout() -> None:
    messages: list[str] = []
    target, stubborn = EmptyTarget(conflicts=1), EmptyTarget(conflicts=1_000)

    await importer(target, messages).run([row()])
    with pytest.raises(PrimaryConflict):
        await importer(stubborn, messages, busy_timeout_seconds=0).run([row()])

    assert target.written == 1
    assert messages == ["waiting for another writer, such as the transaction of a killed import"] * 2


async def test_an_invalid_row_is_named_with_its_line_and_id() -> None:
    messages: list[str] = []

    await importer(EmptyTarget(), messages).run(
        [NumberedRow(7, InvalidFields([FieldViolation("label", "is too long")]), 0, "contact_1")]
    )

    assert messages == ["line 7: contact_1: label is too long"]


@pytest.mark.parametrize("between", [0, 300])
async def test_a_list_may_name_a_record_once_and_the_last_line_of_an_export_counts(between: int) -> None:
    messages: list[str] = []
    counts = []

    for is_restore in (False, True):
        rows = [
            row(line=2, is_restore=is_restore),
            *(row(f"other {i}", line=3 + i, is_restore=is_restore) for i in range(between)),
            row(line=900, is_restore=is_restore, label="last"),
        ]
        with closing(DryRunStore(EmptyTarget())) as target:  # type: ignore[arg-type]  # a Store has more methods
            work = importer(target, messages)
            await work.run(rows)
        counts.append(work.counts)

    assert messages == ["line 900: contact_1: record repeats line 2"]
    assert counts[0] == Counts(created=between + 1, failed=1)
    assert counts[1] == Counts(created=between + 1, updated=1)


async def test_a_dry_run_returns_records_as_they_were_written() -> None:
    with closing(DryRunStore(EmptyTarget())) as target:  # type: ignore[arg-type]  # a Store has more methods
        written = record(metadata={"a": "b"})
        await target.write(ChangeSet(inserted=[written], replaced=[], removed=[], idempotency_records=[], revived=[]))

        assert await target.find_by_ids(["contact_1"]) == [written]


class WatchedTarget(MemoryTarget):
    """A target in memory that counts the ids that are looked up."""

    def __init__(self) -> None:
        super().__init__()
        self.looked_up = 0

    async def find_by_ids(self, ids: Collection[str]) -> list[ContactMethod]:
        self.looked_up += len(ids)
        return await super().find_by_ids(ids)


async def test_an_export_is_restored_into_an_empty_environment_without_looking_up_every_record() -> None:
    target = WatchedTarget()
    work = importer(target, [])

    await work.run(row(str(i), line=2 + i) for i in range(3 * BATCH_SIZE))

    assert work.counts == Counts(created=3 * BATCH_SIZE)
    assert target.looked_up == BATCH_SIZE


async def test_records_that_are_there_are_found_also_after_batches_of_new_ones() -> None:
    target = WatchedTarget()
    rows = [row(str(i), line=2 + i) for i in range(4 * BATCH_SIZE)]
    await importer(target, []).run(rows[2 * BATCH_SIZE + 1 :])
    work = importer(target, [])

    await work.run(replace(one, row=row(one.id, label="changed").row) for one in rows)

    assert work.counts == Counts(created=2 * BATCH_SIZE + 1, updated=2 * BATCH_SIZE - 1)
    assert {record.label for record in target.records.values()} == {"changed"}


@pytest.mark.parametrize("taken", ["external id", "primary slot"])
async def test_what_another_record_holds_is_not_taken_from_it_after_batches_of_new_ones(taken: str) -> None:
    target, messages = WatchedTarget(), list[str]()
    held = {"external_id": "x"} if taken == "external id" else {"is_primary": True}
    holder, rival = (record(id_, value=ContactValue(id_, id_), **held) for id_ in ("holder", "rival"))
    await importer(target, []).run([NumberedRow(2, Row(record=holder, is_restore=True), 0, "holder")])
    work = importer(target, messages)

    await work.run(
        [
            *(row(str(i), line=2 + i) for i in range(BATCH_SIZE)),
            NumberedRow(900, Row(record=rival, is_restore=True), 0, "rival"),
        ]
    )

    assert work.counts == Counts(created=BATCH_SIZE, failed=1)
    assert [message.partition(" ")[0] for message in messages] == ["line"]
    assert "rival" not in target.records


async def test_an_import_that_stops_names_all_failed_rows_of_the_batch() -> None:
    target, messages = WatchedTarget(), list[str]()
    await importer(target, []).run([row("there")])
    broken = NumberedRow(900, InvalidFields([FieldViolation("label", "is too long")]), 0, "broken")
    work = importer(target, messages, on_conflict=OnConflict.ERROR, stop_on_error=True)

    with pytest.raises(Stopped):
        await work.run(
            [*(row(str(i), line=2 + i) for i in range(BATCH_SIZE)), broken, row("there", line=901, label="changed")]
        )

    assert [message[:9] for message in messages] == ["line 900:", "line 901:"]
    assert work.counts == Counts(created=BATCH_SIZE, failed=2)
