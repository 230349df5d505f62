from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Hashable
from contextlib import closing
from typing import Any

import pytest

from contactsvc.domain.change_set import ChangeSet
from contactsvc.domain.contact_method import ContactMethod
from contactsvc.domain.kinds import ContactMethodType, ContactValue
from contactsvc.errors import FieldViolation, InvalidFields, PrimaryConflict
from contactsvc.transfer.dry_run import DryRunStore
from contactsvc.transfer.importer import Counts, Importer, ImportTarget, OnConflict
from contactsvc.transfer.sources import NumberedRow, Row
from tests.unit.transfer_records import NOON, record


class EmptyTarget:
    """An empty target on which another writer wins the first races.

    Args:
        conflicts: the number of races that it wins.
    """

    def __init__(self, conflicts: int = 0) -> None:
        self._conflicts = conflicts
        self.written = 0

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
