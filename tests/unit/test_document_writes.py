"""Writes of single documents that are undone, on databases without transactions."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from mongomock_motor import AsyncMongoMockClient

from contactsvc.domain.contact_method import ContactMethod
from contactsvc.domain.kinds import ContactMethodType, ContactValue
from contactsvc.domain.verification import Challenge
from contactsvc.store.documents import from_document, to_document
from contactsvc.store.writes import DocumentWrite, Release, Replace

NOON = datetime(2026, 11, 27, 12, tzinfo=UTC)
BEFORE = ContactMethod(
    id="contact_00000000000000000000000001",
    client_id="client_1",
    type=ContactMethodType.EMAIL,
    value=ContactValue("a@example.com", "a@example.com"),
    label=None,
    is_primary=True,
    verified_at=None,
    external_id="crm-1",
    metadata={},
    created_at=NOON,
    updated_at=NOON,
    etag="e0",
    challenge=Challenge("c0", "s0", NOON, NOON, "ce0"),
)
DEMOTED = replace(BEFORE, is_primary=False, label="new", etag="e1")
VOIDED = replace(DEMOTED, value=ContactValue("b@example.com", "b@example.com"), challenge=None)
TRIED = Challenge("c0", "s0", NOON, NOON, "ce1", tries=1)


@pytest.fixture
def collection() -> Any:
    return AsyncMongoMockClient(tz_aware=True)["unit"]["contact_methods"]


async def stored(collection: Any) -> ContactMethod:
    return from_document(await collection.find_one({"_id": BEFORE.id}))


@pytest.mark.parametrize(
    "write",
    [Replace(BEFORE, to_document(DEMOTED)), Replace(BEFORE, to_document(VOIDED)), Release(BEFORE)],
    ids=["demoted", "new value", "released"],
)
async def test_a_write_is_undone(collection: Any, write: DocumentWrite) -> None:
    await collection.insert_one(to_document(BEFORE))
    assert await write.apply(collection)
    assert await stored(collection) != BEFORE

    await write.revert(collection)

    assert await stored(collection) == BEFORE


@pytest.mark.parametrize(
    ("write", "meanwhile"),
    [(Replace(BEFORE, to_document(DEMOTED)), DEMOTED), (Release(BEFORE), replace(BEFORE, is_primary=False))],
    ids=["demoted", "released"],
)
async def test_a_wrong_code_counts_also_when_the_write_before_it_is_undone(
    collection: Any, write: DocumentWrite, meanwhile: ContactMethod
) -> None:
    await collection.insert_one(to_document(BEFORE))
    await write.apply(collection)
    await collection.replace_one({"_id": BEFORE.id}, to_document(replace(meanwhile, challenge=TRIED)))

    await write.revert(collection)

    assert await stored(collection) == replace(BEFORE, challenge=TRIED)


async def test_a_write_is_not_undone_after_another_one(collection: Any) -> None:
    await collection.insert_one(to_document(BEFORE))
    write = Replace(BEFORE, to_document(VOIDED))
    await write.apply(collection)
    challenged = replace(VOIDED, challenge=Challenge("c1", "s0", NOON, NOON, "ce2"))
    await collection.replace_one({"_id": BEFORE.id}, to_document(challenged))

    await write.revert(collection)

    assert await stored(collection) == challenged
