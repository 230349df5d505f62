"""Arguments of the client: filters, sort orders, items, and the errors for invalid ones."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from contactsvc_client import (
    AsyncContactsClient,
    ValidationError,
    collect_all,
    collect_up_to,
    contains,
    get_first,
    one_of,
)

from contactsvc.v1 import contact_methods_pb2 as pb
from tests.conftest import Api
from tests.unit.fake_service import faked


async def listed(**arguments: Any) -> pb.ListContactMethodsRequest:
    """Return the request that the client makes of the arguments of `list`."""
    async with faked() as (service, target), AsyncContactsClient(target) as sdk:
        await sdk.contact_methods.list(**arguments)
        ((request, _),) = service.seen
    assert isinstance(request, pb.ListContactMethodsRequest)
    return request


async def test_filters_become_messages() -> None:
    noon = datetime(2026, 11, 23, 12, tzinfo=UTC)

    request = await listed(
        filter={"client_id": "c", "type": one_of("email", "fax"), "value": contains("@x"), "id": ["a", "b"],
                "is_primary": False, "metadata": {"k": "v"}, "created_before": noon}
    )  # fmt: skip

    message = request.filter
    assert (list(message.client_ids), list(message.ids)) == (["c"], ["a", "b"])
    assert list(message.types) == [pb.CONTACT_METHOD_TYPE_EMAIL, pb.CONTACT_METHOD_TYPE_FAX]
    assert (message.value_contains, dict(message.metadata)) == ("@x", {"k": "v"})
    assert message.HasField("is_primary")
    assert message.created_before.seconds == int(noon.timestamp())


async def test_without_a_filter_all_records_match() -> None:
    assert not (await listed()).HasField("filter")
    assert not (await listed(filter=None)).HasField("filter")


@pytest.mark.parametrize(
    ("filter_", "at_fault", "hint"),
    [
        ({"types": "email"}, "filter.types", "did you mean type"),
        ({"type": "pager"}, "filter.type", "must be one of"),
        ({"id": []}, "filter.id", "at least one"),
        ({"created_before": datetime(2026, 1, 1)}, "filter.created_before", "time zone"),
        ({"is_primary": "yes"}, "filter.is_primary", "wrong type"),
        *(
            ({name: None}, f"filter.{name}", "omit the field")
            for name in ("client_id", "type", "is_primary", "metadata", "updated_before")
        ),
        ({"client_id": [None]}, "filter.client_ids", "wrong type"),
        ({"client_id": one_of(None)}, "filter.client_ids", "wrong type"),
        ({"type": [None]}, "filter.type", "must be one of"),
        ({"metadata": {"k": None}}, "filter.metadata", "wrong type"),
    ],
)
async def test_invalid_filters_are_refused(filter_: Any, at_fault: str, hint: str) -> None:
    async with AsyncContactsClient("127.0.0.1:1") as sdk:
        for call in (sdk.contact_methods.list, lambda filter: collect_all(sdk.contact_methods.iterate(filter))):  # noqa: A006
            with pytest.raises(ValidationError, match=hint) as raised:
                await call(filter=filter_)

            assert [issue.field for issue in raised.value.issues] == [at_fault]


async def test_sorts_become_messages() -> None:
    (key,) = (await listed(sort="-updated_at")).sort

    assert (key.field, key.descending) == (pb.CONTACT_METHOD_SORT_FIELD_UPDATED_AT, True)
    assert [key.field for key in (await listed(sort=["updated_at", "created_at"])).sort] == [
        pb.CONTACT_METHOD_SORT_FIELD_UPDATED_AT,
        pb.CONTACT_METHOD_SORT_FIELD_CREATED_AT,
    ]
    with pytest.raises(ValidationError):
        await listed(sort="value")


async def test_the_collectors_take_any_iterator() -> None:
    async def numbers() -> AsyncIterator[int]:
        for number in range(5):
            yield number

    assert collect_all(range(3)) == [0, 1, 2]
    assert await collect_all(numbers()) == [0, 1, 2, 3, 4]
    assert collect_up_to(range(5), 2) == [0, 1]
    assert await collect_up_to(numbers(), 2) == [0, 1]
    assert await collect_up_to(numbers(), 0) == []
    assert (get_first(range(5)), get_first(())) == (0, None)
    assert await get_first(numbers()) == 0
    with pytest.raises(ValueError, match="negative"):
        collect_up_to(range(3), -1)


async def test_an_update_distinguishes_omitted_from_none(embedded_api: Api) -> None:
    async with AsyncContactsClient(embedded_api.target) as sdk:
        made = await sdk.contact_methods.create(
            client_id="c",
            type="email",
            value="a@example.com",
            label="L",
            external_id="x",
            metadata={"a": "1", "b": "2"},
        )

        assert await sdk.contact_methods.update(made.id) == made
        cleared = await sdk.contact_methods.update(made.id, label=None, external_id=None, metadata={"a": None})
        emptied = await sdk.contact_methods.update(made.id, metadata=None)
        with pytest.raises(ValidationError):
            await sdk.contact_methods.update(made.id, value=None)  # type: ignore[arg-type]

    assert (cleared.label, cleared.external_id, dict(cleared.metadata)) == (None, None, {"b": "2"})
    assert dict(emptied.metadata) == {}


@pytest.mark.parametrize(
    ("items", "at_fault"),
    [
        ([{"id": "x", "lable": "Work"}], r"requests\[0\].lable"),
        (["x"], r"requests\[0\]"),
        ([{"id": "x", "value": None}], r"requests\[0\].value"),
        ([{"id": "x", "metadata": "crm"}], r"requests\[0\].metadata"),
        ([{"id": "x", "label": 7}], r"requests\[0\].label"),
    ],
)
async def test_invalid_items_are_named(items: Any, at_fault: str) -> None:
    async with AsyncContactsClient("127.0.0.1:1") as sdk:
        with pytest.raises(ValidationError, match=at_fault):
            await sdk.contact_methods.update_many(items)


async def test_in_a_batch_the_service_judges_values_and_missing_fields(embedded_api: Api) -> None:
    items: Any = [
        {"client_id": "c", "type": "pager", "value": "1"},
        {"client_id": "c", "type": "email"},
        {"type": "email", "value": "nonsense"},
        {"client_id": "c", "type": "email", "value": "a@example.com"},
    ]
    async with AsyncContactsClient(embedded_api.target) as sdk:
        with pytest.raises(ValidationError) as raised:
            await sdk.contact_methods.create_many(items)
        partial = await sdk.contact_methods.create_many(items, atomic=False)

    fields = ["requests[0].type", "requests[1].value", "requests[2].client_id", "requests[2].value"]
    assert [issue.field for issue in raised.value.issues] == fields
    assert [index for index, _ in partial.succeeded] == [3]
    assert [index for index, _ in partial.failed] == [0, 1, 2]


@pytest.mark.parametrize(
    "call",
    [
        lambda methods: methods.list("client_1"),
        lambda methods: methods.list(filter={"client_id": 5}),
        lambda methods: methods.list(filter={"label": contains("x")}),
        lambda methods: methods.list(sort=5),
        lambda methods: methods.list(sort=[5]),
        lambda methods: methods.update("x", metadata="crm"),
        lambda methods: methods.update_many(None),
        lambda methods: methods.create_many(None),
        lambda methods: methods.create(client_id="c", type="email", value="a@example.com", request_id=5),
        lambda methods: methods.delete("x", on_primary=["reject"]),
        lambda methods: methods.delete_many("contact_x"),
        lambda methods: methods.retrieve_many("contact_x"),
        lambda methods: methods.sync("c", 5),
    ],
)
async def test_arguments_of_the_wrong_type_are_validation_errors(call: Callable[[Any], Awaitable[Any]]) -> None:
    async with AsyncContactsClient("127.0.0.1:1") as sdk:
        with pytest.raises(ValidationError):
            await call(sdk.contact_methods)
