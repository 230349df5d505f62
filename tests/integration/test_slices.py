"""Listings read in slices, by the command of the embedded database and as on MongoDB, equal those of plain queries."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import secantus.sortkey
import secantus.storage
from pymongo import AsyncMongoClient
from pymongo.errors import OperationFailure

from contactsvc.domain.contact_method import ContactMethod
from contactsvc.domain.kinds import ContactMethodType, ContactValue
from contactsvc.domain.listing import Filter, Listing, SortField, SortKey, TimeRange
from contactsvc.embedded_names import READ_INDEX
from contactsvc.runtime import index_reader
from contactsvc.store import COLLECTION, Deployment, to_document
from contactsvc.store.listing_reader import ListingReader
from contactsvc.store.mongo_slices import MongoSlices
from contactsvc.store.slices import EmbeddedSlices, Traffic

NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)
COUNT = 40
CREATED, UPDATED = SortField.CREATED_AT, SortField.UPDATED_AT
EMAIL, PHONE = ContactMethodType.EMAIL, ContactMethodType.PHONE

SORTS = [
    (SortKey(CREATED, False),),
    (SortKey(CREATED, True),),
    (SortKey(UPDATED, False),),
    (SortKey(UPDATED, True),),
    (SortKey(CREATED, True), SortKey(UPDATED, False)),
]
FILTERS = [
    Filter(),
    Filter(client_ids=("client_1",)),
    Filter(client_ids=("client_1",), types=(PHONE,), value_contains="7"),
    Filter(client_ids=("client_1", "client_2")),
    Filter(value_contains="1"),
    Filter(labels=("label 1",), is_verified=False),
    Filter(metadata={"rare": "3"}),
    Filter(metadata={"frequent": "1", "rare": "3"}, client_ids=("client_0",)),
    Filter(created=TimeRange(at_or_after=NOON + timedelta(milliseconds=2), before=NOON + timedelta(milliseconds=7))),
    Filter(updated=TimeRange(before=NOON + timedelta(milliseconds=5)), types=(EMAIL,)),
    Filter(ids=("id_03", "id_31", "nobody")),
]


def record(number: int) -> ContactMethod:
    """Return a record that shares its times with others, in another order than that of the ids."""
    return ContactMethod(
        id=f"id_{number * 7 % COUNT:02}",
        client_id=f"client_{number % 3}",
        type=PHONE if number % 2 else EMAIL,
        value=ContactValue(f"value {number}", f"value {number}"),
        label=f"label {number % 4}",
        is_primary=False,
        verified_at=NOON if number % 3 == 0 else None,
        external_id=None,
        metadata={"frequent": "1", "rare": str(number % 10)},
        created_at=NOON + timedelta(milliseconds=number // 5),
        updated_at=NOON + timedelta(milliseconds=number * 3 % 11),
        etag="e",
    )


def readers(collection: Any, entries: int) -> dict[str, ListingReader]:
    """Return readers of a collection that read few index entries at a time."""
    command = EmbeddedSlices(collection, Traffic(), entries=entries, entries_undisturbed=entries)
    return {
        "command": ListingReader(collection, slices=command, counts_by_index=False),
        "MongoDB": ListingReader(collection, slices=MongoSlices(collection, entries)),
    }


@pytest.fixture(scope="module")
async def collection(deployment: Deployment) -> Any:
    """Make a database with records, and an idempotency document."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    await deployment.open_store(name)
    made: Any = deployment.scans.collection(name, COLLECTION)
    await made.insert_many([to_document(record(number)) for number in range(COUNT)])
    await made.insert_one({"_id": "request", "requests": [], "request_ids": ["r"], "forget_at": NOON})
    return made


async def everything(reader: ListingReader, asked: Filter, sort: Any, size: int) -> list[list[str]]:
    """Return the ids of all pages."""
    token, pages = "", []
    while True:
        page = await reader.page(Listing(filter=asked, sort=sort, page_size=size, page_token=token))
        pages.append([record.id for record in page.contact_methods])
        if not (token := page.next_page_token):
            return pages


@pytest.mark.parametrize("asked", FILTERS, ids=lambda asked: ",".join(asked_for(asked)) or "everything")
async def test_pages_and_streams_read_in_slices_equal_those_of_plain_queries(collection: Any, asked: Filter) -> None:
    plain = ListingReader(collection)
    for sort in SORTS:
        expected = await everything(plain, asked, sort, 7)
        whole = Listing(filter=asked, sort=sort, page_size=7)
        part = Listing(filter=asked, sort=sort, page_size=4, offset=9, include_total_size=True)
        some = await plain.page(part)
        for reader in readers(collection, 3).values():
            assert await everything(reader, asked, sort, 7) == expected
            streamed = [[one.id for one in page.contact_methods] async for page in reader.pages(whole)]
            assert streamed == [page for page in expected if page]
            assert await reader.page(part) == some


def asked_for(asked: Filter) -> list[str]:
    return [name for name in Filter.__slots__ if getattr(asked, name) != getattr(Filter(), name)]


async def test_first_entries_of_each_range_are_found_by_an_index(collection: Any) -> None:
    reader = readers(collection, 3)["command"]

    found = await reader.first_of_each("metadata", [["rare=3"], ["frequent=1"], ["rare=none"]], 2)

    assert found is not None
    assert ["rare=3" in document["metadata"] for document in found[:2]] == [True, True]
    assert len(found) == 4


async def test_a_database_without_indexes_is_read_by_queries(deployment: Deployment) -> None:
    name = f"test_{uuid.uuid4().hex[:12]}"
    await deployment.driver.database(name)[COLLECTION].insert_many(
        [to_document(record(number)) for number in range(COUNT)]
    )

    page = await deployment.existing_store(name).find_page(
        Listing(filter=Filter(), page_size=100, include_total_size=True)
    )

    assert len(page.contact_methods) == page.total_size == COUNT


def test_the_installed_database_has_the_names_that_slices_need(monkeypatch: pytest.MonkeyPatch) -> None:
    present = index_reader.missing_names()
    monkeypatch.delattr(secantus.sortkey, "encode_value")
    monkeypatch.delattr(secantus.storage.Storage, "_cursor")

    assert present == []
    assert index_reader.missing_names() == ["secantus.sortkey.encode_value", "secantus.storage.Storage._cursor"]


async def test_slices_need_the_password_of_the_database(embedded_uri: str) -> None:
    address = embedded_uri.partition("@")[2].partition("/")[0]
    client = AsyncMongoClient[dict[str, Any]](f"mongodb://{address}/?directConnection=true")
    async with client as stranger:
        with pytest.raises(OperationFailure) as raised:
            await stranger["any"].command({READ_INDEX: "contact_methods"})

    assert raised.value.code == 13


async def test_a_short_read_makes_long_ones_considerate(collection: Any) -> None:
    traffic = Traffic(is_busy=False)
    slices = EmbeddedSlices(collection, traffic)

    await slices.read_first("client", [["client_1"]], 2)

    assert traffic.is_busy
