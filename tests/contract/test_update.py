from __future__ import annotations

import asyncio
from typing import Any

import grpc
import pytest

from contactsvc.domain.normalization import ValueRules
from contactsvc.v1 import contact_methods_pb2 as pb
from tests.conftest import Api, OpenStores, failure_of, serving


async def update(api: Api, id_: str, **fields: Any) -> pb.ContactMethod:
    response: pb.UpdateContactMethodResponse = await api.stub.UpdateContactMethod(
        pb.UpdateContactMethodRequest(id=id_, **fields)
    )
    return response.contact_method


async def test_an_update_changes_what_it_names_and_nothing_else(api: Api) -> None:
    before = await api.create(label="Old", external_id="x", metadata={"a": "1"}, is_primary=True)

    after = await update(api, before.id, value="New@Example.com")

    assert (after.value, after.normalized_value) == ("New@Example.com", "new@example.com")
    assert (after.label, after.external_id, dict(after.metadata), after.is_primary) == ("Old", "x", {"a": "1"}, True)
    assert after.etag != before.etag
    assert after.updated_at.ToNanoseconds() >= before.updated_at.ToNanoseconds()
    assert after.created_at == before.created_at
    assert await api.get(before.id) == after


async def test_an_update_that_changes_nothing_writes_nothing(api: Api) -> None:
    before = await api.create(label="Work", metadata={"a": "1"}, external_id="x")

    assert await update(api, before.id) == before
    same = {"label": "Work", "value": before.value, "metadata": {"a": "1"}, "external_id": "x", "type": before.type}
    assert await update(api, before.id, **same) == before
    assert await api.get(before.id) == before


async def test_empty_strings_clear_label_and_external_id(api: Api) -> None:
    before = await api.create(label="Work", external_id="x")

    after = await update(api, before.id, label="", external_id="")

    assert not after.HasField("label")
    assert not after.HasField("external_id")
    await api.create(external_id="x")


async def test_metadata_is_merged_removed_and_replaced(api: Api) -> None:
    record = await api.create(metadata={"a": "1", "b": "2", "c": "3"})

    merged = await update(api, record.id, metadata={"a": "9", "b": "", "d": "4"})
    assert dict(merged.metadata) == {"a": "9", "c": "3", "d": "4"}
    removed = await update(api, record.id, remove_metadata_keys=["a", "nothing"])
    assert dict(removed.metadata) == {"c": "3", "d": "4"}
    replaced = await update(api, record.id, metadata={"e": "5"}, replace_metadata=True)
    assert dict(replaced.metadata) == {"e": "5"}
    emptied = await update(api, record.id, replace_metadata=True)
    assert dict(emptied.metadata) == {}


async def test_merged_metadata_is_limited_as_well(api: Api) -> None:
    record = await api.create(metadata={f"k{i}": "v" for i in range(50)})

    failure = await failure_of(update(api, record.id, metadata={"one-more": "v"}))

    assert (failure.code, failure.fields) == (grpc.StatusCode.INVALID_ARGUMENT, ["metadata"])
    # What counts are the pairs after the update, not how many it names.
    swap = {f"k{i}": "" for i in range(26)} | {f"new{i}": "v" for i in range(26)}
    assert len((await update(api, record.id, metadata=swap)).metadata) == 50


@pytest.mark.not_on_mock("its replace enforces the partial index on all documents")
async def test_an_external_id_taken_by_another_record_is_refused(api: Api) -> None:
    holder = await api.create(external_id="x")
    record = await api.create()

    failure = await failure_of(update(api, record.id, external_id="x"))

    assert (failure.reason, failure.metadata) == ("EXTERNAL_ID_TAKEN", {"existing_id": holder.id})


async def test_a_promotion_with_a_taken_external_id_demotes_nobody(api: Api) -> None:
    await api.create(external_id="x")
    present = await api.create(is_primary=True)
    record = await api.create()

    failure = await failure_of(update(api, record.id, external_id="x", is_primary=True))

    assert failure.reason == "EXTERNAL_ID_TAKEN"
    assert await api.primary_id("client_1") == present.id


async def test_a_new_type_must_fit_the_present_value(api: Api) -> None:
    record = await api.create(value="juan@example.com")

    failure = await failure_of(update(api, record.id, type=pb.CONTACT_METHOD_TYPE_PHONE))

    assert (failure.code, failure.fields) == (grpc.StatusCode.INVALID_ARGUMENT, ["type"])
    assert "juan" not in failure.message


async def test_a_new_value_must_fit_the_present_type(api: Api) -> None:
    record = await api.create(value="juan@example.com")

    failure = await failure_of(update(api, record.id, value="not an email"))

    assert (failure.code, failure.fields) == (grpc.StatusCode.INVALID_ARGUMENT, ["value"])


async def test_lenient_servers_keep_what_they_cannot_read(on_embedded: OpenStores) -> None:
    async with serving(await on_embedded(), ValueRules(lenient=True)) as api:
        record = await api.create(value="call reception", type=pb.CONTACT_METHOD_TYPE_PHONE)

        assert (record.value, record.normalized_value) == ("call reception", "")
        assert await api.get(record.id) == record


async def test_updates_of_one_record_at_once_all_come_through(api: Api) -> None:
    record = await api.create()

    await asyncio.gather(*(update(api, record.id, metadata={f"k{i}": "v"}) for i in range(50)))

    assert len((await api.get(record.id)).metadata) == 50


async def test_an_etag_lets_only_the_first_of_two_changes_through(api: Api) -> None:
    seen = await api.create(label="Old")

    after = await update(api, seen.id, label="New", etag=seen.etag)
    failure = await failure_of(update(api, seen.id, label="Newer", etag=seen.etag))
    unneeded = await failure_of(update(api, seen.id, etag=seen.etag))

    assert after.label == "New"
    assert {(f.code, f.reason) for f in (failure, unneeded)} == {(grpc.StatusCode.ABORTED, "ETAG_MISMATCH")}
    assert await api.get(seen.id) == after


async def test_an_etag_guards_a_deletion(api: Api) -> None:
    seen = await api.create()
    now = await update(api, seen.id, label="New")

    failure = await failure_of(api.stub.DeleteContactMethod(pb.DeleteContactMethodRequest(id=seen.id, etag=seen.etag)))
    await api.stub.DeleteContactMethod(pb.DeleteContactMethodRequest(id=seen.id, etag=now.etag))

    assert (failure.code, failure.reason) == (grpc.StatusCode.ABORTED, "ETAG_MISMATCH")
    assert await api.total() == 0


async def test_a_promotion_that_fails_leaves_the_primary_where_it_was(standalone_api: Api) -> None:
    for attempt in range(10):
        client_id = f"client_{attempt}"
        present = await standalone_api.create(client_id, is_primary=True)
        record = await standalone_api.create(client_id)

        promoted, *_ = await asyncio.gather(
            update(standalone_api, record.id, is_primary=True, etag=record.etag),
            *(update(standalone_api, record.id, label=f"{i}") for i in range(4)),
            return_exceptions=True,
        )

        primary = present.id if isinstance(promoted, BaseException) else record.id
        assert await standalone_api.primary_id(client_id) == primary
