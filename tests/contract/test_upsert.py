from __future__ import annotations

from typing import Any

import grpc
import pytest

from contactsvc.v1 import contact_methods_pb2 as pb
from tests.conftest import Api, failure_of

EMAIL, PHONE = pb.CONTACT_METHOD_TYPE_EMAIL, pb.CONTACT_METHOD_TYPE_PHONE
CREATED, UPDATED, UNCHANGED = pb.UPSERT_ACTION_CREATED, pb.UPSERT_ACTION_UPDATED, pb.UPSERT_ACTION_UNCHANGED


def item(**fields: Any) -> pb.UpsertContactMethodRequest:
    defaults = {"external_id": "x", "client_id": "client_1", "type": EMAIL, "value": "a@example.com"}
    return pb.UpsertContactMethodRequest(**{**defaults, **fields})


async def upsert(api: Api, **fields: Any) -> pb.UpsertContactMethodResponse:
    response: pb.UpsertContactMethodResponse = await api.stub.UpsertContactMethod(item(**fields))
    return response


async def test_an_upsert_creates_updates_and_leaves_alone(api: Api) -> None:
    created = await upsert(api, label="Work", metadata={"a": "1"})
    unchanged = await upsert(api)
    updated = await upsert(api, value="b@example.com", metadata={"a": "", "b": "2"})

    assert [response.action for response in (created, unchanged, updated)] == [CREATED, UNCHANGED, UPDATED]
    assert unchanged.contact_method == created.contact_method
    after = updated.contact_method
    assert (after.id, after.value, after.label) == (created.contact_method.id, "b@example.com", "Work")
    assert dict(after.metadata) == {"b": "2"}
    assert after.etag != created.contact_method.etag
    assert await api.get(after.id) == after
    assert await api.total() == 1


async def test_an_upsert_takes_no_flag_away_by_silence(api: Api) -> None:
    await upsert(api, is_primary=True)

    assert (await upsert(api, label="New")).contact_method.is_primary
    assert not (await upsert(api, is_primary=False)).contact_method.is_primary
    assert await api.primary_id("client_1") is None


async def test_an_upsert_promotes_and_demotes(api: Api) -> None:
    before = await api.create(is_primary=True)

    response = await upsert(api, is_primary=True)

    assert list(response.demoted_ids) == [before.id]
    assert await api.primary_id("client_1") == response.contact_method.id


async def test_empty_texts_of_an_upsert_clear(api: Api) -> None:
    await upsert(api, label="Work")

    assert not (await upsert(api, label="")).contact_method.HasField("label")


async def test_an_external_id_of_another_client_is_taken(api: Api) -> None:
    holder = await api.create("client_2", external_id="x")

    failure = await failure_of(upsert(api))

    assert (failure.code, failure.reason) == (grpc.StatusCode.ALREADY_EXISTS, "EXTERNAL_ID_TAKEN")
    assert failure.metadata == {"existing_id": holder.id}


async def test_an_etag_holds_an_upsert_to_the_record_seen(api: Api) -> None:
    none_yet = await failure_of(upsert(api, etag="any"))
    seen = (await upsert(api)).contact_method

    stale = await failure_of(upsert(api, label="New", etag="another"))
    good = await upsert(api, label="New", etag=seen.etag)

    assert {none_yet.reason, stale.reason} == {"ETAG_MISMATCH"}
    assert {none_yet.code, stale.code} == {grpc.StatusCode.ABORTED}
    assert good.action == UPDATED


@pytest.mark.parametrize(
    ("fields", "at_fault"),
    [
        ({"external_id": ""}, "external_id"),
        ({"client_id": ""}, "client_id"),
        ({"type": 0}, "type"),
        ({"value": "nonsense"}, "value"),
        ({"label": "x" * 101}, "label"),
        ({"metadata": {"a b": "1"}}, "metadata"),
        ({"etag": "x" * 129}, "etag"),
        ({"request_id": "x" * 256}, "request_id"),
        ({"request_id": "a\nb"}, "request_id"),
    ],
)
async def test_an_upsert_that_breaks_a_rule_names_the_field(
    embedded_api: Api, fields: dict[str, Any], at_fault: str
) -> None:
    failure = await failure_of(upsert(embedded_api, **fields))

    assert (failure.code, failure.fields) == (grpc.StatusCode.INVALID_ARGUMENT, [at_fault])


@pytest.mark.needs_transactions
async def test_a_batch_of_upserts_is_all_or_nothing(api: Api) -> None:
    await api.create("client_2", external_id="theirs")

    failure = await failure_of(
        api.stub.BatchUpsertContactMethods(
            pb.BatchUpsertContactMethodsRequest(requests=[item(), item(external_id="theirs"), item(label="again")])
        )
    )
    response = await api.stub.BatchUpsertContactMethods(
        pb.BatchUpsertContactMethodsRequest(requests=[item(), item(external_id="y"), item(label="again"), item()])
    )

    assert (failure.reason, failure.fields) == ("EXTERNAL_ID_TAKEN", ["requests[1].external_id"])
    assert [result.action for result in response.results] == [CREATED, CREATED, UPDATED, UNCHANGED]
    assert [result.contact_method.label for result in response.results] == ["again", "", "again", "again"]


async def test_items_of_a_partial_batch_of_upserts_stand_alone(api: Api) -> None:
    theirs = await api.create("client_2", external_id="theirs")

    response = await api.stub.BatchUpsertContactMethods(
        pb.BatchUpsertContactMethodsRequest(
            requests=[item(), item(external_id="theirs"), item(value="nonsense"), item(label="again")], partial=True
        )
    )

    good, taken, wrong, again = response.results
    assert (good.action, again.action) == (CREATED, UPDATED)
    assert (taken.error.reason, dict(taken.error.metadata)) == ("EXTERNAL_ID_TAKEN", {"existing_id": theirs.id})
    assert [violation.field for violation in taken.error.field_violations] == ["requests[1].external_id"]
    assert [violation.field for violation in wrong.error.field_violations] == ["requests[2].value"]
    assert (taken.action, wrong.action) == (pb.UPSERT_ACTION_UNSPECIFIED, pb.UPSERT_ACTION_UNSPECIFIED)
