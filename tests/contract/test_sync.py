from __future__ import annotations

from typing import Any

import grpc
import pytest

from contactsvc.domain.normalization import ValueRules
from contactsvc.v1 import contact_methods_pb2 as pb
from tests.conftest import Api, OpenStores, failure_of, ids, serving

EMAIL, PHONE = pb.CONTACT_METHOD_TYPE_EMAIL, pb.CONTACT_METHOD_TYPE_PHONE


def item(value: str = "", **fields: Any) -> pb.SyncItem:
    return pb.SyncItem(**{"type": EMAIL if value else 0, "value": value, **fields})


async def sync(api: Api, *items: pb.SyncItem, **fields: Any) -> pb.SyncClientContactMethodsResponse:
    response: pb.SyncClientContactMethodsResponse = await api.stub.SyncClientContactMethods(
        pb.SyncClientContactMethodsRequest(**{"client_id": "client_1", "items": items, **fields})
    )
    return response


async def all_of(api: Api, client_id: str = "client_1") -> list[pb.ContactMethod]:
    response = await api.stub.ListClientContactMethods(
        pb.ListClientContactMethodsRequest(client_id=client_id, page_size=200)
    )
    return list(response.contact_methods)


async def test_items_match_by_id_then_external_id_then_value(embedded_api: Api) -> None:
    by_id = await embedded_api.create(value="one@example.com")
    by_external_id = await embedded_api.create(value="two@example.com", external_id="two")
    by_value = await embedded_api.create(value="three@example.com")
    left_alone = await embedded_api.create(value="four@example.com")

    response = await sync(
        embedded_api,
        item("Three@Example.com", external_id="three"),
        item("new-one@example.com", id=by_id.id),
        item("two@example.com", external_id="two"),
        item("five@example.com", external_id="five"),
    )

    assert [record.value for record in response.created] == ["five@example.com"]
    assert ids(response.updated) == [by_value.id, by_id.id]
    assert response.updated[0].external_id == "three"
    assert list(response.unchanged) == [by_external_id]
    assert list(response.deleted_ids) == []
    assert await embedded_api.get(left_alone.id) == left_alone


async def test_the_same_sync_again_changes_nothing(embedded_api: Api) -> None:
    items = [
        item("one@example.com", external_id="one", is_primary=True, label="Work", metadata={"a": "1", "b": ""}),
        item("two@example.com"),
        item("two@example.com"),
        item("+52 1 55 1234 5678", type=PHONE),
        item("gone@example.com", external_id="gone", delete=True),
    ]

    first = await sync(embedded_api, *items, replace=True)
    second = await sync(embedded_api, *items, replace=True)

    assert len(first.created) == 4
    assert second == pb.SyncClientContactMethodsResponse(unchanged=first.created)


async def test_replace_deletes_what_is_not_in_the_list(embedded_api: Api) -> None:
    kept, dropped = await embedded_api.create(value="a@example.com"), await embedded_api.create(is_primary=True)
    theirs = await embedded_api.create("client_2")

    response = await sync(embedded_api, item("A@example.com", is_primary=True), replace=True)

    assert (ids(response.updated), list(response.deleted_ids)) == ([kept.id], [dropped.id])
    assert ids(await all_of(embedded_api)) == [kept.id]
    assert await embedded_api.primary_id("client_1") == kept.id
    assert await all_of(embedded_api, "client_2") == [theirs]


async def test_an_empty_list_deletes_everything_only_when_that_is_meant(embedded_api: Api) -> None:
    record = await embedded_api.create()

    failure = await failure_of(sync(embedded_api, replace=True))
    harmless = await sync(embedded_api)
    meant = await sync(embedded_api, replace=True, allow_empty_replace=True)

    assert (failure.code, failure.fields) == (grpc.StatusCode.INVALID_ARGUMENT, ["items"])
    assert harmless == pb.SyncClientContactMethodsResponse()
    assert list(meant.deleted_ids) == [record.id]


async def test_items_delete_by_id_external_id_or_value(embedded_api: Api) -> None:
    records = [
        await embedded_api.create(),
        await embedded_api.create(external_id="x"),
        await embedded_api.create(value="a@example.com"),
    ]
    items = [
        item(id=records[0].id, delete=True),
        item(external_id="x", delete=True),
        item("A@example.com", delete=True),
        item(external_id="never was", delete=True),
    ]

    response = await sync(embedded_api, *items)

    assert list(response.deleted_ids) == ids(records)
    assert (await sync(embedded_api, *items)) == pb.SyncClientContactMethodsResponse()


async def test_a_deletion_by_external_id_spares_other_records_of_the_value(embedded_api: Api) -> None:
    other = await embedded_api.create(value="a@example.com", external_id="other")

    await sync(embedded_api, item("a@example.com", external_id="gone", delete=True))

    assert await all_of(embedded_api) == [other]


@pytest.mark.parametrize("delete", [False, True])
async def test_another_clients_record_is_not_found_and_nothing_is_applied(embedded_api: Api, delete: bool) -> None:
    mine = await embedded_api.create(value="a@example.com")
    theirs = await embedded_api.create("client_2", external_id="theirs")

    failure = await failure_of(
        sync(
            embedded_api,
            item("a@example.com", label="New"),
            item("b@example.com", id=theirs.id, delete=delete),
            item("c@example.com", external_id="theirs", delete=True),
            replace=True,
        )
    )

    assert (failure.code, failure.reason) == (grpc.StatusCode.NOT_FOUND, "CONTACT_METHOD_NOT_FOUND")
    assert failure.fields == ["items[1].id", "items[2].external_id"]
    assert await all_of(embedded_api) == [mine]
    assert await all_of(embedded_api, "client_2") == [theirs]


async def test_another_clients_external_id_is_taken(embedded_api: Api) -> None:
    theirs = await embedded_api.create("client_2", external_id="theirs")

    failure = await failure_of(sync(embedded_api, item("a@example.com", external_id="theirs")))

    assert (failure.code, failure.reason) == (grpc.StatusCode.ALREADY_EXISTS, "EXTERNAL_ID_TAKEN")
    assert (failure.fields, failure.metadata) == (["items[0].external_id"], {"existing_id": theirs.id})
    assert await all_of(embedded_api) == []


async def test_an_unknown_id_is_not_found_unless_it_is_to_be_deleted(embedded_api: Api) -> None:
    failure = await failure_of(sync(embedded_api, item("a@example.com", id="nobody")))

    assert (failure.code, failure.fields) == (grpc.StatusCode.NOT_FOUND, ["items[0].id"])
    assert (await sync(embedded_api, item(id="nobody", delete=True))) == pb.SyncClientContactMethodsResponse()


async def test_every_item_at_fault_is_named_at_once(embedded_api: Api) -> None:
    record = await embedded_api.create(external_id="x")

    wrong = await failure_of(
        sync(
            embedded_api,
            item("nonsense"),
            item(),
            item("a@example.com", label="x" * 101, id=""),
            item(delete=True),
        )
    )
    twice = await failure_of(
        sync(embedded_api, item("a@example.com", id=record.id), item("b@example.com", external_id="x"))
    )
    rivals = await failure_of(
        sync(embedded_api, item("a@example.com", is_primary=True), item("b@example.com", is_primary=True))
    )
    stale = await failure_of(
        sync(embedded_api, item("a@example.com", external_id="x", etag="another"), item("b@example.com", etag="any"))
    )

    assert set(wrong.fields) == {
        "items[0].value", "items[1].type", "items[1].value", "items[2].label", "items[2].id",
        "items[3].type", "items[3].value",
    }  # fmt: skip
    assert (twice.code, twice.fields) == (grpc.StatusCode.INVALID_ARGUMENT, ["items[1]"])
    assert rivals.fields == ["items[0].is_primary", "items[1].is_primary"]
    assert (stale.code, stale.reason) == (grpc.StatusCode.ABORTED, "ETAG_MISMATCH")
    assert stale.fields == ["items[0].etag", "items[1].etag"]
    assert await all_of(embedded_api) == [record]


async def test_an_item_takes_the_flag_from_another_item_and_from_strangers(embedded_api: Api) -> None:
    first = await embedded_api.create(value="a@example.com", is_primary=True)
    stranger = await embedded_api.create(type=PHONE, value="+525512345678", is_primary=True)

    response = await sync(
        embedded_api,
        item("a@example.com"),
        item("b@example.com", is_primary=True),
        item("+525587654321", type=PHONE, is_primary=True),
    )

    assert [record.value for record in response.created] == ["b@example.com", "+525587654321"]
    assert ids(response.updated) == [first.id]
    assert list(response.demoted_ids) == [first.id, stranger.id]


async def test_the_same_sync_again_changes_nothing_however_alike_the_items_are(embedded_api: Api) -> None:
    await embedded_api.create(value="a@example.com", external_id="x")
    items = [item("a@example.com", label="Home"), item("a@example.com", label="Work"), item("a@example.com")]

    await sync(embedded_api, *items)
    before = await all_of(embedded_api)
    again = await sync(embedded_api, *items)

    assert len(again.unchanged) == 3
    assert await all_of(embedded_api) == before


@pytest.mark.parametrize("exists", [False, True])
@pytest.mark.parametrize(
    "items",
    [
        [item("a@example.com", external_id="x"), item(external_id="x", delete=True)],
        [item("a@example.com", external_id="x"), item("b@example.com", external_id="x")],
        [item("a@example.com"), item("A@example.com", delete=True)],
        [item(id="some", delete=True), item("a@example.com", id="some")],
    ],
)
async def test_items_that_contradict_each_other_are_refused_whatever_there_is(
    embedded_api: Api, items: list[pb.SyncItem], exists: bool
) -> None:
    if exists:
        await embedded_api.create(value="a@example.com", external_id="x")

    failure = await failure_of(sync(embedded_api, *items))

    assert failure.code is grpc.StatusCode.INVALID_ARGUMENT
    assert failure.fields == ["items[1]"] or (failure.fields == ["items[1]", "items[0].id"])


async def test_a_deletion_by_value_means_all_records_that_have_it(embedded_api: Api) -> None:
    records = [await embedded_api.create(value=value) for value in ("a@example.com", "A@example.com", "b@example.com")]

    response = await sync(embedded_api, item("a@example.com", delete=True))

    assert list(response.deleted_ids) == ids(records[:2])
    assert ids(await all_of(embedded_api)) == [records[2].id]


async def test_etags_stay_good_while_the_flag_moves_between_the_items(embedded_api: Api) -> None:
    old = await embedded_api.create(value="old@example.com", is_primary=True)
    new = await embedded_api.create(value="new@example.com")

    await sync(
        embedded_api,
        item("new@example.com", is_primary=True, etag=new.etag),
        item("old@example.com", is_primary=False, label="Old", etag=old.etag),
    )

    assert await embedded_api.primary_id("client_1") == new.id
    assert (await embedded_api.get(old.id)).label == "Old"


async def test_an_etag_that_fits_lets_the_item_pass(embedded_api: Api) -> None:
    record = await embedded_api.create(value="a@example.com")

    response = await sync(embedded_api, item("a@example.com", label="New", etag=record.etag))

    assert response.updated[0].label == "New"


async def test_values_that_cannot_be_read_match_by_their_text(on_embedded: OpenStores) -> None:
    async with serving(await on_embedded(), ValueRules(lenient=True)) as api:
        items = [item("call reception", type=PHONE), item("call the porter", type=PHONE)]

        first, second = await sync(api, *items), await sync(api, *items, replace=True)

    assert list(second.unchanged) == list(first.created)


async def test_a_sync_has_at_most_250_items(embedded_api: Api) -> None:
    failure = await failure_of(sync(embedded_api, *[item("a@example.com")] * 251))
    response = await sync(embedded_api, *[item(f"{i}@example.com") for i in range(250)])

    assert (failure.code, failure.fields) == (grpc.StatusCode.INVALID_ARGUMENT, ["items"])
    assert [record.value for record in response.created] == [f"{i}@example.com" for i in range(250)]


async def test_without_transactions_a_sync_is_refused(standalone_api: Api) -> None:
    failure = await failure_of(sync(standalone_api, item("a@example.com")))

    assert (failure.code, failure.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "TRANSACTIONS_UNSUPPORTED")
