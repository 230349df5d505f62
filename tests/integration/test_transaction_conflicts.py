"""Records that others change after a transaction, or a write that needs one, has read them."""

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


async def store_with_a_record(open_stores: OpenStores) -> tuple[Store, ContactMethod]:
    store: Store = (await open_stores())[Environment.LIVE]
    made = record(f"contact_{uuid.uuid4().hex}", label=None)
    await store.write(ChangeSet(inserted=[made], replaced=[], removed=[], idempotency_records=[]))
    return store, made


def replacing(before: ContactMethod, after: ContactMethod) -> ChangeSet:
    return ChangeSet(inserted=[], replaced=[(before, after)], removed=[], idempotency_records=[])


def changed_by_others(made: ContactMethod, what: str) -> ContactMethod:
    if what == "label":
        return replace(made, label="theirs", etag=new_etag())
    # The etag of a record stays when a code is sent.
    return replace(made, challenge=Challenge("c", "s", NOON, NOON, new_etag()))


def changed_by_us(present: ContactMethod) -> ContactMethod:
    return replace(present, metadata={"by": "us"}, etag=new_etag())


@pytest.mark.parametrize("theirs", ["label", "challenge"])
async def test_a_record_that_changes_after_a_transaction_has_read_it_is_read_again(
    open_stores: OpenStores, theirs: str
) -> None:
    store, made = await store_with_a_record(open_stores)
    changed = changed_by_others(made, theirs)
    attempts = 0

    async def work(inside: Store) -> None:
        nonlocal attempts
        attempts += 1
        (present,) = await inside.find_by_ids([made.id])
        if attempts == 1:
            await store.write(replacing(present, changed))
        await inside.write(replacing(present, changed_by_us(present)))

    await store.atomically(work, keys=())

    (stored,) = await store.find_by_ids([made.id])
    assert replace(stored, etag=changed.etag) == replace(changed, metadata={"by": "us"})
    assert attempts == 2


@pytest.mark.parametrize("theirs", ["label", "challenge"])
async def test_a_record_that_changes_before_the_transaction_of_a_prepared_write_is_read_again(
    open_stores: OpenStores, theirs: str
) -> None:
    store, made = await store_with_a_record(open_stores)
    changed = changed_by_others(made, theirs)
    await store.write(replacing(made, changed))

    async def prepared(inside: Store) -> None:
        await inside.write(replacing(made, changed_by_us(made)))

    async def work(inside: Store) -> None:
        (present,) = await inside.find_by_ids([made.id])
        await inside.write(replacing(present, changed_by_us(present)))

    await store.atomically(work, keys=(), prepared=prepared)

    (stored,) = await store.find_by_ids([made.id])
    assert replace(stored, etag=changed.etag) == replace(changed, metadata={"by": "us"})


async def test_a_record_that_is_deleted_after_a_transaction_has_read_it_stays_deleted(open_stores: OpenStores) -> None:
    store, made = await store_with_a_record(open_stores)
    found = []

    async def work(inside: Store) -> None:
        found.append(await inside.find_by_ids([made.id]))
        for present in found[-1]:
            await store.write(ChangeSet(inserted=[], replaced=[], removed=[present], idempotency_records=[]))
            await inside.write(replacing(present, replace(present, label="late", etag=new_etag())))

    await store.atomically(work, keys=())

    assert found == [[made], []]
    assert await store.find_by_ids([made.id]) == []
