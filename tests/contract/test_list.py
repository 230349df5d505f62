from __future__ import annotations

import base64
from itertools import chain
from typing import Any

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from contactsvc.domain.normalization import ValueRules
from contactsvc.v1 import contact_methods_pb2 as pb
from tests.conftest import Api, OpenStores, failure_of, ids, serving

EMAIL, PHONE, OTHER = pb.CONTACT_METHOD_TYPE_EMAIL, pb.CONTACT_METHOD_TYPE_PHONE, pb.CONTACT_METHOD_TYPE_OTHER


async def matching(api: Api, **conditions: Any) -> list[str]:
    response = await api.stub.ListContactMethods(
        pb.ListContactMethodsRequest(filter=pb.ContactMethodFilter(**conditions), page_size=200)
    )
    return ids(response.contact_methods)


async def all_pages(api: Api, page_size: int, **request: Any) -> list[list[str]]:
    pages, token = [], ""
    while True:
        response = await api.stub.ListContactMethods(
            pb.ListContactMethodsRequest(page_size=page_size, page_token=token, **request)
        )
        pages.append(ids(response.contact_methods))
        token = response.next_page_token
        if not token:
            return pages


async def test_each_filter_field_selects_what_it_says(api: Api) -> None:
    a = await api.create("client_1", "a.b@example.com", label="Work", external_id="x1", metadata={"k": "1", "l": "2"})
    b = await api.create("client_1", "+52 55 1234 5678", type=PHONE, is_primary=True, metadata={"k": "2", "l": "1"})
    c = await api.create("client_2", "aXb@example.com", label="Home", external_id="x2", metadata={"k": "1"})

    assert await matching(api) == [a.id, b.id, c.id]
    assert await matching(api, ids=[c.id, a.id, "nobody"]) == [a.id, c.id]
    assert await matching(api, client_ids=["client_2"]) == [c.id]
    assert await matching(api, client_ids=["client_1", "client_2"]) == [a.id, b.id, c.id]
    assert await matching(api, types=[PHONE]) == [b.id]
    assert await matching(api, types=[PHONE, EMAIL], client_ids=["client_1"]) == [a.id, b.id]
    assert await matching(api, values=["A.B@EXAMPLE.com"]) == [a.id]
    assert await matching(api, values=["+52 1 (55) 1234-5678"]) == [b.id]
    assert await matching(api, values=["+525512345678"], types=[EMAIL]) == []
    assert await matching(api, value_contains="a.b") == [a.id]
    assert await matching(api, value_contains="@example") == [a.id, c.id]
    assert await matching(api, value_contains=".*") == []
    assert await matching(api, is_primary=True) == [b.id]
    assert await matching(api, is_primary=False) == [a.id, c.id]
    assert await matching(api, is_verified=True) == []
    assert await matching(api, is_verified=False) == [a.id, b.id, c.id]
    assert await matching(api, external_ids=["x1", "x2"]) == [a.id, c.id]
    assert await matching(api, labels=["Work"]) == [a.id]
    assert await matching(api, metadata={"k": "1"}) == [a.id, c.id]
    assert await matching(api, metadata={"k": "1", "l": "2"}) == [a.id]
    assert await matching(api, metadata={"k": "1", "l": "1"}) == []
    assert await matching(api, created_at_or_after=a.created_at) == [a.id, b.id, c.id]
    assert await matching(api, created_before=a.created_at) == []
    assert await matching(api, updated_at_or_after=Timestamp(seconds=c.updated_at.seconds + 3600)) == []
    assert await matching(api, updated_before=Timestamp(seconds=c.updated_at.seconds + 3600)) == [a.id, b.id, c.id]


async def test_a_text_that_is_the_normal_form_of_another_type_is_not_mixed_up_with_it(on_embedded: OpenStores) -> None:
    async with serving(await on_embedded(), ValueRules(default_region="MX")) as api:
        phone = await api.create(value="55 1234 5678", type=PHONE)
        await api.create(value="+525512345678", type=OTHER)

        assert await matching(api, values=["(55) 1234-5678"]) == [phone.id]


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("field", [pb.CONTACT_METHOD_SORT_FIELD_CREATED_AT, pb.CONTACT_METHOD_SORT_FIELD_UPDATED_AT])
async def test_pages_together_are_the_whole_list_in_order(api: Api, field: Any, descending: bool) -> None:
    made = [await api.create() for _ in range(7)]
    touched = await api.stub.UpdateContactMethod(pb.UpdateContactMethodRequest(id=made[2].id, label="touched"))
    made[2] = touched.contact_method
    name = "created_at" if field == pb.CONTACT_METHOD_SORT_FIELD_CREATED_AT else "updated_at"
    expected = ids(sorted(made, key=lambda r: (getattr(r, name).ToNanoseconds(), r.id), reverse=descending))
    sort = [pb.ContactMethodSort(field=field, descending=descending)]

    pages = await all_pages(api, 3, sort=sort)

    assert [len(page) for page in pages] == [3, 3, 1]
    assert list(chain(*pages)) == expected
    assert list(chain(*await all_pages(api, 200, sort=sort))) == expected


async def test_the_last_full_page_has_no_token(api: Api) -> None:
    for _ in range(4):
        await api.create()

    assert [len(page) for page in await all_pages(api, 2)] == [2, 2]


async def test_paging_neither_skips_nor_repeats_what_nobody_touches(api: Api) -> None:
    made = [await api.create() for _ in range(9)]
    seen: list[str] = []
    token = ""
    while True:
        response = await api.stub.ListContactMethods(pb.ListContactMethodsRequest(page_size=2, page_token=token))
        seen += ids(response.contact_methods)
        token = response.next_page_token
        if not token or len(seen) > 50:
            break
        if len(seen) == 4:
            await api.stub.DeleteContactMethod(pb.DeleteContactMethodRequest(id=seen[0]))
            await api.stub.DeleteContactMethod(pb.DeleteContactMethodRequest(id=made[6].id))
            await api.create()

    assert seen[:-1] == [record.id for record in made if record.id != made[6].id]
    assert len(seen) == 9


async def test_offset_skips_and_total_counts_everything(api: Api) -> None:
    made = ids([await api.create() for _ in range(5)])

    response = await api.stub.ListContactMethods(
        pb.ListContactMethodsRequest(page_size=2, offset=3, include_total_size=True)
    )

    assert ids(response.contact_methods) == made[3:]
    assert response.total_size == 5
    assert response.next_page_token == ""


async def test_the_total_is_absent_unless_asked_for(api: Api) -> None:
    response = await api.stub.ListContactMethods(pb.ListContactMethodsRequest())

    assert not response.HasField("total_size")


async def test_the_default_page_has_20_records_and_the_largest_200(api: Api) -> None:
    for _ in range(21):
        await api.create()

    default = await api.stub.ListContactMethods(pb.ListContactMethodsRequest())
    largest = await api.stub.ListContactMethods(pb.ListContactMethodsRequest(page_size=100_000))

    assert len(default.contact_methods) == 20
    assert default.next_page_token
    assert len(largest.contact_methods) == 21


async def test_a_client_is_listed_oldest_first_and_by_type(api: Api) -> None:
    email = await api.create("client_1")
    phone = await api.create("client_1", "+525512345678", type=PHONE)
    await api.create("client_2")

    async def listed(**request: Any) -> list[str]:
        response = await api.stub.ListClientContactMethods(pb.ListClientContactMethodsRequest(**request))
        return ids(response.contact_methods)

    assert await listed(client_id="client_1") == [email.id, phone.id]
    assert await listed(client_id="client_1", type=PHONE) == [phone.id]
    assert await listed(client_id="nobody") == []


async def test_the_pages_of_a_client_follow_each_other(api: Api) -> None:
    made = ids([await api.create("client_1") for _ in range(3)])

    first = await api.stub.ListClientContactMethods(
        pb.ListClientContactMethodsRequest(client_id="client_1", page_size=2)
    )
    second = await api.stub.ListClientContactMethods(
        pb.ListClientContactMethodsRequest(client_id="client_1", page_size=2, page_token=first.next_page_token)
    )

    assert ids(first.contact_methods) + ids(second.contact_methods) == made


def forged(token: str, position: str) -> str:
    """Return a token of the same listing with a position of our own."""
    fingerprint = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))[:8]
    return base64.urlsafe_b64encode(fingerprint + position.encode()).decode().rstrip("=")


async def test_a_token_is_bound_to_its_listing(api: Api) -> None:
    for _ in range(3):
        await api.create()
    token = (await api.stub.ListContactMethods(pb.ListContactMethodsRequest(page_size=1))).next_page_token
    in_test = (("x-environment", "test"),)
    sort = [pb.ContactMethodSort(field=pb.CONTACT_METHOD_SORT_FIELD_UPDATED_AT)]

    for call in (
        api.stub.ListContactMethods(pb.ListContactMethodsRequest(page_token=token, sort=sort)),
        api.stub.ListContactMethods(
            pb.ListContactMethodsRequest(page_token=token, filter=pb.ContactMethodFilter(client_ids=["client_1"]))
        ),
        api.stub.ListContactMethods(pb.ListContactMethodsRequest(page_token=token), metadata=in_test),
        api.stub.ListClientContactMethods(pb.ListClientContactMethodsRequest(client_id="client_1", page_token=token)),
        api.stub.ListContactMethods(pb.ListContactMethodsRequest(page_token=token[:-4])),
        api.stub.ListContactMethods(pb.ListContactMethodsRequest(page_token="garbage")),
        api.stub.ListContactMethods(pb.ListContactMethodsRequest(page_token="ümläut")),
        api.stub.ListContactMethods(pb.ListContactMethodsRequest(page_token=forged(token, r'[1,"\ud800"]'))),
        api.stub.ListContactMethods(pb.ListContactMethodsRequest(page_token=forged(token, "[1e400,1]"))),
    ):
        failure = await failure_of(call)
        assert (failure.code, failure.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_PAGE_TOKEN")
        assert failure.fields == ["page_token"]


async def test_a_token_is_good_for_the_same_filter_in_another_order(api: Api) -> None:
    records = [await api.create(client) for client in ("client_1", "client_2", "client_1")]

    def page(clients: list[str], token: str = "") -> Any:
        wanted = pb.ContactMethodFilter(client_ids=clients)
        return api.stub.ListContactMethods(pb.ListContactMethodsRequest(page_size=2, page_token=token, filter=wanted))

    token = (await page(["client_1", "client_2"])).next_page_token

    assert ids((await page(["client_2", "client_1", "client_2"], token)).contact_methods) == [records[2].id]


async def test_the_last_time_that_there_is_can_be_asked_for(api: Api) -> None:
    record = await api.create()
    wanted = pb.ContactMethodFilter(created_before=Timestamp(seconds=253_402_300_799, nanos=999_999_999))

    assert ids((await api.stub.ListContactMethods(pb.ListContactMethodsRequest(filter=wanted))).contact_methods) == [
        record.id
    ]
    wanted.created_before.seconds += 1
    failure = await failure_of(api.stub.ListContactMethods(pb.ListContactMethodsRequest(filter=wanted)))
    assert failure.fields == ["filter.created_before"]
