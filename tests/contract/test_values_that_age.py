"""Values whose normal form today's rules would make otherwise, or cannot make: what finds them and what they keep."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import grpc
import pytest

from contactsvc.domain.change_set import ChangeSet
from contactsvc.domain.contact_method import ContactMethod
from contactsvc.domain.kinds import ContactMethodType, ContactValue, Environment
from contactsvc.domain.normalization import ValueRules
from contactsvc.store import MongoStore
from contactsvc.v1 import contact_methods_pb2 as pb
from tests.conftest import Api, OpenStores, failure_of, ids, serving
from tests.contract.test_sync import all_of, item, sync

EMAIL, PHONE, OTHER = pb.CONTACT_METHOD_TYPE_EMAIL, pb.CONTACT_METHOD_TYPE_PHONE, pb.CONTACT_METHOD_TYPE_OTHER
LENIENT, STRICT = ValueRules(lenient=True), ValueRules()
MEXICO, SPAIN = ValueRules("MX"), ValueRules("ES")
# Both texts are numbers in Mexico; only the first is one in Spain.
TEXTS = ("911 123 456", "55 5000 0142")
UNREADABLE = "+49 171 1234567 (Eva)"


class Servers:
    """Servers with different rules over the same stores, one at a time."""

    def __init__(self, stores: dict[Environment, MongoStore]) -> None:
        self._stores = stores

    @property
    def store(self) -> MongoStore:
        return self._stores[Environment.LIVE]

    @asynccontextmanager
    async def under(self, rules: ValueRules) -> AsyncIterator[Api]:
        async with serving(self._stores, rules) as api:
            yield api


@pytest.fixture
async def servers(on_embedded: OpenStores) -> Servers:
    return Servers(await on_embedded())


@pytest.fixture
async def any_servers(open_stores: OpenStores) -> Servers:
    return Servers(await open_stores())


async def found(api: Api, *values: str, **fields: Any) -> list[str]:
    request = pb.ListContactMethodsRequest(filter=pb.ContactMethodFilter(values=values, **fields), page_size=1)
    response = await api.stub.ListContactMethods(request)
    found_ids = ids(response.contact_methods)
    while response.next_page_token:
        request.page_token = response.next_page_token
        response = await api.stub.ListContactMethods(request)
        found_ids += ids(response.contact_methods)
    request.page_token = ""
    streamed = [
        record.id
        async for page in api.stub.StreamContactMethods(pb.StreamContactMethodsRequest(filter=request.filter))
        for record in page.contact_methods
    ]
    assert streamed == found_ids
    return found_ids


async def test_a_value_without_a_normal_form_is_found_by_its_text(any_servers: Servers) -> None:
    async with any_servers.under(LENIENT) as api:
        eva = await api.create(value=f"\u200b{UNREADABLE} ", type=PHONE)
        fax = await api.create(value=UNREADABLE, type=pb.CONTACT_METHOD_TYPE_FAX)
        named = await api.create(value="Juan P <juan@example.com>")
        plain = await api.create(value="juan@example.com")
    for rules in (LENIENT, STRICT):
        async with any_servers.under(rules) as api:
            assert await found(api, UNREADABLE.upper(), types=[PHONE]) == [eva.id]
            assert await found(api, f"  {UNREADABLE}\ufeff") == [eva.id, fax.id]
            assert await found(api, "JUAN p <juan@example.com>") == [named.id]
            assert await found(api, "juan p <juan@example.com>", "Juan@Example.com") == [named.id, plain.id]
            assert await found(api, "Juan@Example.com") == [plain.id]
            assert await found(api, "nobody <juan@example.com>") == []


async def test_a_value_that_becomes_readable_is_not_found_by_its_old_text_any_more(any_servers: Servers) -> None:
    async with any_servers.under(LENIENT) as api:
        record = await api.create(value=UNREADABLE, type=PHONE)
        await api.stub.UpdateContactMethod(pb.UpdateContactMethodRequest(id=record.id, value="+49 171 1234567"))

        assert await found(api, UNREADABLE) == []
        assert await found(api, "+491711234567") == [record.id]


async def test_page_tokens_outlive_a_value_that_is_stored_meanwhile(servers: Servers) -> None:
    async with servers.under(LENIENT) as api:
        made = [await api.create(value="juan@example.com", client_id=f"client_{i}") for i in range(3)]
        request = pb.ListContactMethodsRequest(
            filter=pb.ContactMethodFilter(values=["juan@example.com", UNREADABLE]), page_size=2
        )
        first = await api.stub.ListContactMethods(request)
        late = await api.create(value=UNREADABLE, type=PHONE)
        request.page_token = first.next_page_token
        second = await api.stub.ListContactMethods(request)

    assert ids(first.contact_methods) == ids(made[:2])
    assert ids(second.contact_methods) == [made[2].id, late.id]


async def test_a_sync_of_the_same_texts_keeps_its_records_under_another_region(servers: Servers) -> None:
    items = [item(text, type=PHONE) for text in TEXTS]
    async with servers.under(ValueRules("MX", lenient=True)) as api:
        first = await sync(api, item(TEXTS[0], type=PHONE, label="Home", is_primary=True), item(TEXTS[1], type=PHONE))
        before = {record.value: record for record in first.created}
    async with servers.under(ValueRules("ES", lenient=True)) as api:
        again = await sync(api, *items, replace=True)
        after = {record.value: record for record in await all_of(api)}
        repeated = await sync(api, *items, replace=True)

    assert list(again.created) == []
    assert list(again.deleted_ids) == []
    assert {text: record.id for text, record in after.items()} == {text: record.id for text, record in before.items()}
    assert [after[TEXTS[0]].label, after[TEXTS[0]].is_primary] == ["Home", True]
    # What can be read today has the normal form of today, and what cannot keeps the one that it has.
    assert after[TEXTS[0]].normalized_value == "+34911123456"
    assert after[TEXTS[1]].normalized_value == "+525550000142"
    assert len(repeated.unchanged) == 2


async def test_a_sync_keeps_and_renews_what_an_older_library_has_normalized(servers: Servers) -> None:
    """As phonenumbers did before 2019 for Mexico, and as a release of another day may have done for any value."""
    old = ContactMethod(
        id="contact_00000000000000000000000001",
        client_id="client_1",
        type=ContactMethodType.PHONE,
        value=ContactValue("+52 1 55 5000 0142", "+5215550000142"),
        label="Home",
        is_primary=True,
        verified_at=None,
        external_id=None,
        metadata={"source": "crm"},
        created_at=datetime(2018, 1, 1, tzinfo=UTC),
        updated_at=datetime(2018, 1, 1, tzinfo=UTC),
        etag="00",
    )
    await servers.store.write(ChangeSet([old], [], [], []))
    async with servers.under(STRICT) as api:
        first = await sync(api, item(old.value.text, type=PHONE), replace=True)
        second = await sync(api, item("+52 55 5000 0142", type=PHONE), replace=True)

    (renewed,), (respelled,) = first.updated, second.updated
    assert (renewed.id, renewed.normalized_value, renewed.label) == (old.id, "+525550000142", "Home")
    assert (respelled.id, respelled.value, respelled.is_primary) == (old.id, "+52 55 5000 0142", True)
    assert dict(respelled.metadata) == {"source": "crm"}


async def test_a_strict_sync_accepts_an_unreadable_text_for_the_record_that_has_it(servers: Servers) -> None:
    async with servers.under(LENIENT) as api:
        old = await api.create(value=UNREADABLE, type=PHONE, label="Eva")
        other = await api.create(value="+1 650 253 0000", type=PHONE)
    async with servers.under(STRICT) as api:
        kept = await sync(api, item(UNREADABLE, type=PHONE), item("+1 650 253 0000", type=PHONE), replace=True)
        refused = await failure_of(
            sync(api, item("+49 171 7654321 (Eva)", type=PHONE), item("juan@example.com", label="x" * 101))
        )
        unknown = await failure_of(sync(api, item("+49 171 7654321 (Eva)", type=PHONE)))
        relabelled = await sync(api, item(UNREADABLE, type=PHONE, label="Eva M."))

    assert ids(kept.unchanged) == [old.id, other.id]
    assert list(kept.deleted_ids) == []
    assert refused.fields == ["items[1].label", "items[0].value"]
    assert (unknown.code, unknown.fields) == (grpc.StatusCode.INVALID_ARGUMENT, ["items[0].value"])
    assert [record.label for record in relabelled.updated] == ["Eva M."]
    assert relabelled.updated[0].normalized_value == ""


async def test_an_upsert_of_an_unreadable_text_leaves_the_record_that_has_it(servers: Servers) -> None:
    async with servers.under(LENIENT) as api:
        old = await api.create(value=UNREADABLE, type=PHONE, external_id="crm-1")
    async with servers.under(STRICT) as api:
        same = pb.UpsertContactMethodRequest(
            external_id="crm-1", client_id="client_1", type=PHONE, value=UNREADABLE.upper()
        )
        response = await api.stub.UpsertContactMethod(same)
        new = pb.UpsertContactMethodRequest(external_id="crm-2", client_id="client_1", type=PHONE, value=UNREADABLE)
        refused = await failure_of(api.stub.UpsertContactMethod(new))
        another = await failure_of(
            api.stub.BatchUpsertContactMethods(
                pb.BatchUpsertContactMethodsRequest(
                    requests=[same, pb.UpsertContactMethodRequest(external_id="crm-1", client_id="client_1", value="x")]
                )
            )
        )

    assert response.action == pb.UPSERT_ACTION_UNCHANGED
    assert response.contact_method == old
    assert (refused.reason, refused.fields) == ("INVALID_FIELD", ["value"])
    assert another.fields == ["requests[1].type"]


async def test_an_upsert_renews_a_normal_form_and_keeps_the_rest(servers: Servers) -> None:
    fields: Any = {"external_id": "crm-1", "client_id": "client_1", "type": PHONE, "value": TEXTS[0]}
    async with servers.under(MEXICO) as api:
        assert (await failure_of(api.stub.UpsertContactMethod(pb.UpsertContactMethodRequest(**fields)))).fields == [
            "value"
        ]
    async with servers.under(LENIENT) as api:
        old = (await api.stub.UpsertContactMethod(pb.UpsertContactMethodRequest(**fields, label="Home"))).contact_method
    async with servers.under(SPAIN) as api:
        new = (await api.stub.UpsertContactMethod(pb.UpsertContactMethodRequest(**fields))).contact_method

    assert (new.id, new.label, new.value) == (old.id, "Home", TEXTS[0])
    assert (old.normalized_value, new.normalized_value) == ("", "+34911123456")


async def test_by_value_no_item_takes_the_record_of_another_external_id(servers: Servers) -> None:
    async with servers.under(STRICT) as api:
        theirs = await api.create(value="juan@example.com", external_id="other-system")
        made = await sync(api, item("Juan@example.com", external_id="ours"))
        again = await sync(api, item("Juan@example.com", external_id="ours"))
        taken = await sync(api, item("juan@example.com"))

        assert ids(made.created) == ids(again.unchanged)
        assert made.created[0].id != theirs.id
        # Without an external id an item takes any, the oldest first, and leaves its external id alone.
        assert ids(taken.unchanged) == [theirs.id]
        assert await api.get(theirs.id) == theirs


async def test_the_oldest_record_wins_whatever_it_has_in_common(servers: Servers) -> None:
    async with servers.under(LENIENT) as api:
        unreadable = await api.create(value=TEXTS[0].replace(" ", "  "), type=PHONE)
        same_number = await api.create(value="+34 911 123 456", type=PHONE)
        same_text = await api.create(value=TEXTS[0], type=PHONE)
    async with servers.under(SPAIN) as api:
        first = await sync(api, item(TEXTS[0], type=PHONE))
        await api.stub.DeleteContactMethod(pb.DeleteContactMethodRequest(id=same_number.id))
        second = await sync(api, item(TEXTS[0], type=PHONE))

    assert ids(first.updated) == [same_number.id]
    assert ids(second.updated) == [same_text.id]
    assert unreadable.normalized_value == ""


@pytest.mark.parametrize(
    "spelling", ["+52 55 5000 0142", "(+52) 55-5000-0142", "+52 1 55 5000 0142", "00 52 55 50000142"]
)
async def test_another_spelling_of_a_value_keeps_its_record(servers: Servers, spelling: str) -> None:
    async with servers.under(MEXICO) as api:
        record = await api.create(value=TEXTS[1], type=PHONE)
        await sync(api, item(spelling, type=PHONE), replace=True)

        (after,) = await all_of(api)
    assert (after.id, after.normalized_value) == (record.id, record.normalized_value)


async def test_texts_of_other_type_are_the_same_only_to_the_letter(servers: Servers) -> None:
    async with servers.under(STRICT) as api:
        await api.create(value="@Juan", type=OTHER)
        made = await sync(api, item("@juan", type=OTHER))

    assert [record.value for record in made.created] == ["@juan"]


async def matching(api: Api, text: str) -> list[str]:
    response = await api.stub.ListContactMethods(
        pb.ListContactMethodsRequest(filter=pb.ContactMethodFilter(value_contains=text))
    )
    return [record.value for record in response.contact_methods]


async def test_contains_reads_digits_without_punctuation_and_emails_without_case(any_servers: Servers) -> None:
    values: list[tuple[str, Any]] = [
        ("+52 (55) 5000-0142", PHONE),
        ("Juan.Perez+52@Example.com", EMAIL),
        ("Room 5500, 2nd floor", OTHER),
    ]
    async with any_servers.under(STRICT) as api:
        for value, type_ in values:
            await api.create(value=value, type=type_)
        phone, email, other = (value for value, _ in values)

        for text in (
            "5550000142",
            "55 50 00",
            "+52 55",
            "+5255",
            "(55)",
            "\u0665\u0665\u0665\u0660",
            "\uff15\uff15\uff15",
        ):
            assert await matching(api, text) == [phone], text
        for text in ("juan.perez", "EXAMPLE.com", "perez+52@", "Juan"):
            assert await matching(api, text) == [email], text
        assert await matching(api, "5500") == [phone, other]
        assert await matching(api, "Room") == [other]
        assert await matching(api, "room") == []
        assert await matching(api, "+53") == []
        assert await matching(api, "5.5") == [phone]
        assert await matching(api, ".*") == []
