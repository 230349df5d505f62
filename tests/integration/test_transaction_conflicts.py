"""Records that others change after a transaction has read them: its writes find them by their id alone."""

from __future__ import annotations

import uuid
from dataclasses import replace

import pytest

from contactsvc.domain.change_set import ChangeSet
from contactsvc.domain.contact_method import ContactMethod
from contactsvc.domain.ids import new_etag
from contactsvc.domain.kinds import Environment
from contactsvc.domain.verification import Challenge
from contactsvc.service.ports import Store
from tests.conftest import OpenStores
from tests.unit.transfer_records import NOON, record

pytestmark = pytest.mark.needs_transactions


def replacing(before: ContactMethod, after: ContactMethod) -> ChangeSet:
    return ChangeSet(inserted=[], replaced=[(before, after)], removed=[], idempotency_records=[])


@pytest.mark.parametrize("theirs", ["label", "challenge"])
async def test_a_record_that_changes_after_a_transaction_has_read_it_is_read_again(
    open_stores: OpenStores, theirs: str
) -> None:
    store: Store = (await open_stores())[Environment.LIVE]
    made = record(f"contact_{uuid.uuid4().hex}", label=None)
    await store.write(ChangeSet(inserted=[made], replaced=[], removed=[], idempotency_records=[]))
    changed = (
        replace(made, label="theirs", etag=new_etag())
        if theirs == "label"
        # The etag of a record stays when a code is sent.
        else replace(made, challenge=Challenge("c", "s", NOON, NOON, new_etag()))
    )
    attempts = 0

    async def work(inside: Store) -> None:
        nonlocal attempts
        attempts += 1
        (present,) = await inside.find_by_ids([made.id])
        if attempts == 1:
            await store.write(replacing(present, changed))
        await inside.write(replacing(present, replace(present, metadata={"by": "us"}, etag=new_etag())))

    await store.atomically(work, keys=())

    (stored,) = await store.find_by_ids([made.id])
    assert replace(stored, etag=changed.etag) == replace(changed, metadata={"by": "us"})
    assert attempts == 2


async def test_a_record_that_is_deleted_after_a_transaction_has_read_it_stays_deleted(open_stores: OpenStores) -> None:
    store: Store = (await open_stores())[Environment.LIVE]
    made = record(f"contact_{uuid.uuid4().hex}")
    await store.write(ChangeSet(inserted=[made], replaced=[], removed=[], idempotency_records=[]))
    found = []

    async def work(inside: Store) -> None:
        found.append(await inside.find_by_ids([made.id]))
        for present in found[-1]:
            await store.write(ChangeSet(inserted=[], replaced=[], removed=[present], idempotency_records=[]))
            await inside.write(replacing(present, replace(present, label="late", etag=new_etag())))

    await store.atomically(work, keys=())

    assert found == [[made], []]
    assert await store.find_by_ids([made.id]) == []
