from __future__ import annotations

from typing import Any

import grpc
import pytest

from contactsvc.v1 import contact_methods_pb2 as pb
from tests.conftest import Api, failure_of, ids

EMAIL, PHONE = pb.CONTACT_METHOD_TYPE_EMAIL, pb.CONTACT_METHOD_TYPE_PHONE


def item(value: str, **fields: Any) -> pb.CreateContactMethodRequest:
    return pb.CreateContactMethodRequest(client_id="client_1", type=EMAIL, value=value, **fields)


async def update_all(api: Api, *requests: pb.UpdateContactMethodRequest, partial: bool = False) -> Any:
    return await api.stub.BatchUpdateContactMethods(
        pb.BatchUpdateContactMethodsRequest(requests=requests, partial=partial)
    )


async def delete_all(api: Api, *ids_: str, partial: bool = False) -> Any:
    return await api.stub.BatchDeleteContactMethods(pb.BatchDeleteContactMethodsRequest(ids=ids_, partial=partial))


def change(id_: str, **fields: Any) -> pb.UpdateContactMethodRequest:
    return pb.UpdateContactMethodRequest(id=id_, **fields)


@pytest.mark.needs_transactions
async def test_an_atomic_batch_creates_all_in_order(api: Api) -> None:
    before = await api.create(is_primary=True)
    requests = [item(f"{i}@example.com", is_primary=i == 2) for i in range(250)]

    response = await api.stub.BatchCreateContactMethods(pb.BatchCreateContactMethodsRequest(requests=requests))

    assert [result.contact_method.value for result in response.results] == [request.value for request in requests]
    assert list(response.results[2].demoted_ids) == [before.id]
    assert list(response.results[3].demoted_ids) == []
    assert await api.primary_id("client_1") == response.results[2].contact_method.id
    assert await api.total() == 251


async def test_an_atomic_batch_reports_every_violation_and_writes_nothing(api: Api) -> None:
    requests = [item("a@example.com"), item("nonsense"), item("c@example.com", label="x" * 101), item("")]

    failure = await failure_of(
        api.stub.BatchCreateContactMethods(pb.BatchCreateContactMethodsRequest(requests=requests))
    )

    assert (failure.code, failure.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD")
    assert failure.fields == ["requests[1].value", "requests[2].label", "requests[3].value"]
    assert await api.total() == 0


@pytest.mark.needs_transactions
async def test_an_atomic_batch_names_every_taken_external_id_and_writes_nothing(api: Api) -> None:
    holder = await api.create(external_id="x")
    present = await api.create(is_primary=True)
    requests = [
        item("a@example.com", external_id="x"),
        item("b@example.com", external_id="y", is_primary=True),
        item("c@example.com", external_id="y"),
    ]

    failure = await failure_of(
        api.stub.BatchCreateContactMethods(pb.BatchCreateContactMethodsRequest(requests=requests))
    )

    assert (failure.code, failure.reason) == (grpc.StatusCode.ALREADY_EXISTS, "EXTERNAL_ID_TAKEN")
    assert failure.fields == ["requests[0].external_id", "requests[2].external_id"]
    assert failure.metadata == {"existing_id": holder.id}
    assert await api.total() == 2
    assert await api.primary_id("client_1") == present.id


async def test_two_claims_of_one_slot_are_refused_naming_both(api: Api) -> None:
    requests = [item("a@example.com", is_primary=True), item("b@example.com"), item("c@example.com", is_primary=True)]

    failure = await failure_of(
        api.stub.BatchCreateContactMethods(pb.BatchCreateContactMethodsRequest(requests=requests))
    )
    partial = await api.stub.BatchCreateContactMethods(
        pb.BatchCreateContactMethodsRequest(requests=requests, partial=True)
    )

    assert failure.code is grpc.StatusCode.INVALID_ARGUMENT
    assert failure.fields == ["requests[0].is_primary", "requests[2].is_primary"]
    assert [result.WhichOneof("outcome") for result in partial.results] == ["error", "contact_method", "error"]
    assert await api.total() == 1


async def test_a_partial_batch_gives_each_item_its_own_outcome(api: Api) -> None:
    holder = await api.create(external_id="x", is_primary=True)
    requests = [
        item("a@example.com", is_primary=True),
        item("nonsense"),
        item("c@example.com", external_id="x"),
        item("d@example.com", external_id="y"),
        item("e@example.com", external_id="y"),
    ]

    response = await api.stub.BatchCreateContactMethods(
        pb.BatchCreateContactMethodsRequest(requests=requests, partial=True)
    )

    first, broken, taken, good, repeated = response.results
    assert first.contact_method.is_primary
    assert list(first.demoted_ids) == [holder.id]
    assert (broken.error.code, broken.error.reason) == (3, "INVALID_FIELD")
    assert [violation.field for violation in broken.error.field_violations] == ["requests[1].value"]
    assert (taken.error.code, taken.error.reason) == (6, "EXTERNAL_ID_TAKEN")
    assert dict(taken.error.metadata) == {"existing_id": holder.id}
    assert repeated.error.metadata["existing_id"] == good.contact_method.id
    assert await api.total() == 3
    assert await api.primary_id("client_1") == first.contact_method.id


@pytest.mark.parametrize("rpc", ["Create", "Update", "Delete", "Upsert"])
async def test_without_transactions_an_atomic_batch_is_refused(standalone_api: Api, rpc: str) -> None:
    items = {
        "Create": pb.BatchCreateContactMethodsRequest(requests=[item("a@example.com")]),
        "Update": pb.BatchUpdateContactMethodsRequest(requests=[change("x")]),
        "Delete": pb.BatchDeleteContactMethodsRequest(ids=["x"]),
        "Upsert": pb.BatchUpsertContactMethodsRequest(
            requests=[pb.UpsertContactMethodRequest(external_id="x", client_id="c", type=EMAIL, value="a@example.com")]
        ),
    }

    failure = await failure_of(getattr(standalone_api.stub, f"Batch{rpc}ContactMethods")(items[rpc]))

    assert (failure.code, failure.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "TRANSACTIONS_UNSUPPORTED")


@pytest.mark.needs_transactions
async def test_updates_of_a_batch_apply_in_order(api: Api) -> None:
    first, second = await api.create(external_id="x", is_primary=True), await api.create()

    response = await update_all(
        api,
        change(first.id, external_id=""),
        change(second.id, external_id="x", is_primary=True),
        change(first.id, label="Old"),
        change(second.id, label="New"),
    )

    assert [result.contact_method.id for result in response.results] == [first.id, second.id, first.id, second.id]
    assert [result.contact_method.label for result in response.results] == ["Old", "New", "Old", "New"]
    assert list(response.results[1].demoted_ids) == [first.id]
    now = await api.get(second.id)
    assert (now.external_id, now.is_primary, now.label) == ("x", True, "New")
    assert response.results[1].contact_method == now
    assert not (await api.get(first.id)).HasField("external_id")


@pytest.mark.needs_transactions
async def test_a_record_that_is_changed_and_changed_back_keeps_its_etag(api: Api) -> None:
    record = await api.create(label="Old")

    response = await update_all(api, change(record.id, label="New"), change(record.id, label="Old"))

    assert response.results[1].contact_method == record
    assert await api.get(record.id) == record


@pytest.mark.needs_transactions
async def test_two_records_can_swap_their_places(api: Api) -> None:
    first = await api.create(external_id="a", is_primary=True)
    second = await api.create(external_id="b", type=PHONE, value="+525512345678", is_primary=True)

    await update_all(
        api,
        change(first.id, external_id="c", type=pb.CONTACT_METHOD_TYPE_OTHER),
        change(second.id, external_id="a", type=EMAIL, value="b@example.com"),
        change(first.id, external_id="b", type=PHONE, value="+525587654321"),
    )

    one, other = await api.get(first.id), await api.get(second.id)
    assert (one.external_id, one.type, one.is_primary) == ("b", PHONE, True)
    assert (other.external_id, other.type, other.is_primary) == ("a", EMAIL, True)


@pytest.mark.needs_transactions
async def test_an_atomic_batch_of_updates_names_every_item_at_fault_and_writes_nothing(api: Api) -> None:
    good, taken = await api.create(), await api.create(external_id="x")

    failure = await failure_of(
        update_all(
            api,
            change(good.id, label="New"),
            change("nobody", label="New"),
            change(good.id, external_id="x"),
            change(good.id, label="Newer", etag="another"),
            change("nobody else"),
        )
    )

    assert (failure.code, failure.reason) == (grpc.StatusCode.NOT_FOUND, "CONTACT_METHOD_NOT_FOUND")
    assert failure.fields == ["requests[1].id", "requests[2].external_id", "requests[3].etag", "requests[4].id"]
    assert await api.get(good.id) == good
    assert await api.get(taken.id) == taken


@pytest.mark.needs_transactions
async def test_what_stored_records_say_is_told_together_with_what_is_wrong_at_first_sight(api: Api) -> None:
    email, taken = await api.create(), await api.create(external_id="x")

    updates = await failure_of(
        update_all(
            api,
            change(email.id, label="x" * 101),
            change(email.id, value="nobody"),
            change("nobody"),
            change(email.id, is_primary=True),
            change(taken.id, is_primary=True),
        )
    )
    creates = await failure_of(
        api.stub.BatchCreateContactMethods(
            pb.BatchCreateContactMethodsRequest(requests=[item("a@example.com", external_id="x"), item("nonsense")])
        )
    )

    assert (updates.code, updates.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD")
    assert sorted(updates.fields) == [
        "requests[0].label",
        "requests[1].value",
        "requests[2].id",
        "requests[3].is_primary",
        "requests[4].is_primary",
    ]
    assert sorted(creates.fields) == ["requests[0].external_id", "requests[1].value"]
    assert await api.get(email.id) == email
    assert await api.total() == 2


@pytest.mark.needs_transactions
async def test_a_bad_request_outweighs_what_may_pass(api: Api) -> None:
    record = await api.create()

    failure = await failure_of(update_all(api, change("nobody"), change(record.id, type=PHONE)))

    assert failure.code is grpc.StatusCode.INVALID_ARGUMENT
    assert failure.fields == ["requests[1].type", "requests[0].id"]
    assert "the present value does not fit" in failure.message


async def test_each_item_of_a_partial_batch_of_updates_has_its_own_outcome(api: Api) -> None:
    record = await api.create()

    response = await update_all(
        api,
        change("nobody", label="x"),
        change(record.id, label="New", etag=record.etag),
        change(record.id, label="Newer", etag=record.etag),
        change(record.id, value="nonsense"),
        change(record.id, label="y" * 101),
        partial=True,
    )

    missing, good, stale, unfit, long = response.results
    assert (missing.error.code, missing.error.reason) == (5, "CONTACT_METHOD_NOT_FOUND")
    assert [violation.field for violation in missing.error.field_violations] == ["requests[0].id"]
    assert good.contact_method == await api.get(record.id)
    assert good.contact_method.label == "New"
    assert (stale.error.code, stale.error.reason) == (10, "ETAG_MISMATCH")
    assert [violation.field for violation in unfit.error.field_violations] == ["requests[3].value"]
    assert [violation.field for violation in long.error.field_violations] == ["requests[4].label"]


@pytest.mark.needs_transactions
async def test_two_updates_that_claim_one_slot_are_both_refused(api: Api) -> None:
    first, second, other = await api.create(), await api.create(), await api.create("client_2")
    requests = [
        change(first.id, is_primary=True),
        change(second.id, is_primary=True),
        change(other.id, is_primary=True),
    ]

    failure = await failure_of(update_all(api, *requests))
    partial = await update_all(api, *requests, partial=True)

    assert (failure.code, failure.fields) == (
        grpc.StatusCode.INVALID_ARGUMENT,
        ["requests[0].is_primary", "requests[1].is_primary"],
    )
    assert [result.WhichOneof("outcome") for result in partial.results] == ["error", "error", "contact_method"]
    assert await api.primary_id("client_1") is None
    assert await api.primary_id("client_2") == other.id


@pytest.mark.needs_transactions
async def test_a_batch_deletes_all_or_none(api: Api) -> None:
    records = [await api.create() for _ in range(3)]

    failure = await failure_of(delete_all(api, records[0].id, "nobody", records[0].id))
    response = await delete_all(api, *ids(records))

    assert (failure.code, failure.fields) == (grpc.StatusCode.NOT_FOUND, ["ids[1]", "ids[2]"])
    assert [result.deleted_id for result in response.results] == ids(records)
    assert await api.total() == 0


async def test_each_id_of_a_partial_batch_of_deletes_has_its_own_outcome(api: Api) -> None:
    record = await api.create()

    response = await delete_all(api, "nobody", record.id, "x" * 129, record.id, partial=True)

    assert [result.WhichOneof("outcome") for result in response.results] == ["error", "deleted_id", "error", "error"]
    assert [
        [violation.field for violation in result.error.field_violations]
        for result in response.results
        if result.HasField("error")
    ] == [["ids[0]"], ["ids[2]"], ["ids[3]"]]
    assert await api.total() == 0


async def test_several_records_are_returned_in_the_order_of_their_ids(api: Api) -> None:
    records = [await api.create() for _ in range(3)]
    wanted = [records[2].id, "nobody", records[0].id, "nobody else", records[2].id]

    response = await api.stub.BatchGetContactMethods(pb.BatchGetContactMethodsRequest(ids=wanted))

    assert list(response.contact_methods) == [records[2], records[0], records[2]]
    assert list(response.missing_ids) == ["nobody", "nobody else"]


async def test_items_carry_no_request_ids(api: Api) -> None:
    failure = await failure_of(
        api.stub.BatchCreateContactMethods(
            pb.BatchCreateContactMethodsRequest(requests=[item("a@example.com"), item("b@example.com", request_id="r")])
        )
    )

    assert (failure.code, failure.fields) == (grpc.StatusCode.INVALID_ARGUMENT, ["requests[1].request_id"])


@pytest.mark.needs_transactions
async def test_a_batch_on_a_busy_slot_still_comes_through(api: Api) -> None:
    before = await api.create(is_primary=True)

    response = await api.stub.BatchUpsertContactMethods(
        pb.BatchUpsertContactMethodsRequest(
            requests=[
                pb.UpsertContactMethodRequest(
                    external_id=f"x{i}", client_id="client_1", type=EMAIL, value=f"{i}@example.com", is_primary=i == 7
                )
                for i in range(20)
            ]
        )
    )

    assert [result.action for result in response.results] == [pb.UPSERT_ACTION_CREATED] * 20
    assert list(response.results[7].demoted_ids) == [before.id]
    assert await api.primary_id("client_1") == response.results[7].contact_method.id


@pytest.mark.parametrize("rivals", [False, True])
async def test_an_error_reaches_its_caller_however_many_items_are_wrong(embedded_api: Api, rivals: bool) -> None:
    requests = [item(f"{i}@example.com" if rivals else "nonsense", is_primary=rivals) for i in range(250)]

    failure = await failure_of(
        embedded_api.stub.BatchCreateContactMethods(pb.BatchCreateContactMethodsRequest(requests=requests))
    )

    assert (failure.code, failure.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD")
    assert len(failure.fields) > 20
    assert len(failure.fields) + int(failure.metadata["violations_left_out"]) == 250
    assert "and 249 more" in failure.message
