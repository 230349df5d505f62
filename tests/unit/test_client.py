from __future__ import annotations

import asyncio
import copy
import dataclasses
import json
import pickle
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import contactsvc_client as sdk_package
import grpc
import pytest
from contactsvc_client import (
    APIError,
    AsyncContactsClient,
    ConflictError,
    ContactsClient,
    ContactsError,
    NetworkError,
    NotFoundError,
    ServerError,
    ValidationError,
    collect_all,
    collect_up_to,
    contains,
    get_first,
    one_of,
)
from contactsvc_client import errors as sdk_errors
from contactsvc_client.filters import filter_message, sort_messages

from contactsvc.errors import TransactionsUnsupported
from contactsvc.rpc.status import status_of
from contactsvc.v1 import contact_methods_pb2 as pb
from contactsvc.v1 import contact_methods_pb2_grpc as pb_grpc
from tests.conftest import Api


class FakeService(pb_grpc.ContactMethodsServiceServicer):
    """Answers with what it is told to, and remembers the calls."""

    def __init__(self) -> None:
        self.failures: list[grpc.StatusCode] = []
        self.seen: list[tuple[Any, dict[str, Any]]] = []
        self.pages: list[pb.StreamContactMethodsResponse | grpc.StatusCode] = []
        self.transactional = True

    async def _answer(self, request: Any, context: Any, response: Any) -> Any:
        self.seen.append((request, dict(context.invocation_metadata())))
        if self.failures:
            await context.abort(self.failures.pop(0), "told to")
        return response

    async def GetContactMethod(self, request: Any, context: Any) -> Any:  # noqa: N802
        return await self._answer(request, context, pb.GetContactMethodResponse())

    async def CreateContactMethod(self, request: Any, context: Any) -> Any:  # noqa: N802
        if request.request_id and not self.transactional:
            status = status_of(TransactionsUnsupported("a request_id"))
            trailing = (("grpc-status-details-bin", status.SerializeToString()),)
            await context.abort(grpc.StatusCode.FAILED_PRECONDITION, status.message, trailing)
        return await self._answer(request, context, pb.CreateContactMethodResponse())

    async def ListContactMethods(self, request: Any, context: Any) -> Any:  # noqa: N802
        return await self._answer(request, context, pb.ListContactMethodsResponse(next_page_token="start"))

    async def StreamContactMethods(self, request: Any, context: Any) -> Any:  # noqa: N802
        self.seen.append((request, {}))
        while self.pages:
            page = self.pages.pop(0)
            if isinstance(page, grpc.StatusCode):
                await context.abort(page, "told to")
            yield page

    async def GetPrimaryContactMethod(self, request: Any, context: Any) -> Any:  # noqa: N802
        await asyncio.Event().wait()


@asynccontextmanager
async def faked() -> AsyncIterator[tuple[FakeService, str]]:
    server, service = grpc.aio.server(), FakeService()
    pb_grpc.add_ContactMethodsServiceServicer_to_server(service, server)  # type: ignore[no-untyped-call]
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield service, f"127.0.0.1:{port}"
    finally:
        await server.stop(None)


async def test_reads_are_retried_while_the_service_is_unavailable() -> None:
    async with faked() as (service, target), AsyncContactsClient(target) as sdk:
        service.failures = [grpc.StatusCode.UNAVAILABLE] * 2

        await sdk.contact_methods.retrieve("x")

        assert len(service.seen) == 3


async def test_writes_are_retried_with_the_request_id_of_the_first_attempt() -> None:
    async with faked() as (service, target), AsyncContactsClient(target) as sdk:
        service.failures = [grpc.StatusCode.UNAVAILABLE] * 2

        await sdk.contact_methods.create(client_id="c", type="email", value="a@example.com")
        await sdk.contact_methods.create(client_id="c", type="email", value="a@example.com")
        await sdk.contact_methods.create(client_id="c", type="email", value="a@example.com", request_id="mine")

        used = [request.request_id for request, _ in service.seen]
    assert len(used) == 5
    assert used[0] == used[1] == used[2]
    assert len({*used[2:]}) == 3
    assert used[4] == "mine"


async def test_other_failures_are_not_retried() -> None:
    async with faked() as (service, target), AsyncContactsClient(target) as sdk:
        service.failures = [grpc.StatusCode.INTERNAL] * 2

        with pytest.raises(ServerError):
            await sdk.contact_methods.create(client_id="c", type="email", value="a@example.com")

        assert len(service.seen) == 1


async def test_where_requests_cannot_be_remembered_writes_go_without_an_id_and_only_once() -> None:
    async with faked() as (service, target), AsyncContactsClient(target) as sdk:
        service.transactional = False

        await sdk.contact_methods.create(client_id="c", type="email", value="a@example.com")
        service.failures = [grpc.StatusCode.UNAVAILABLE]
        with pytest.raises(NetworkError):
            await sdk.contact_methods.create(client_id="c", type="email", value="a@example.com")
        with pytest.raises(ConflictError, match="request_id"):
            await sdk.contact_methods.create(client_id="c", type="email", value="a@example.com", request_id="mine")

        assert [request.request_id for request, _ in service.seen] == ["", ""]


def page_of(*ids: str, token: str) -> pb.StreamContactMethodsResponse:
    return pb.StreamContactMethodsResponse(
        contact_methods=[pb.ContactMethod(id=id_) for id_ in ids], next_page_token=token
    )


async def test_a_broken_stream_is_taken_up_where_it_stopped() -> None:
    async with faked() as (service, target), AsyncContactsClient(target) as sdk:
        service.pages = [
            page_of("a", "b", token="after-b"),
            grpc.StatusCode.UNAVAILABLE,
            page_of("c", token="after-c"),
            grpc.StatusCode.DEADLINE_EXCEEDED,
            page_of("d", token=""),
        ]

        found = [record.id async for record in sdk.contact_methods.iterate()]

    assert found == ["a", "b", "c", "d"]
    assert [request.page_token for request, _ in service.seen[1:]] == ["start", "after-b", "after-c"]


async def test_a_stream_that_brings_nothing_ends_with_its_error() -> None:
    async with faked() as (service, target), AsyncContactsClient(target) as sdk:
        service.pages = [page_of("a", token="after-a"), *[grpc.StatusCode.DEADLINE_EXCEEDED] * 2]

        with pytest.raises(TimeoutError):
            await collect_all(sdk.contact_methods.iterate())


async def test_every_call_carries_key_and_environment() -> None:
    async with faked() as (service, target), AsyncContactsClient(target, api_key="k", environment="test") as sdk:
        await sdk.contact_methods.retrieve("x")

        assert service.seen[0][1]["authorization"] == "Bearer k"
        assert service.seen[0][1]["x-environment"] == "test"
        assert "k" not in repr(sdk).removeprefix("AsyncContactsClient")


async def test_every_call_has_a_timeout() -> None:
    async with faked() as (_, target), AsyncContactsClient(target, timeout=0.05) as sdk:
        with pytest.raises(TimeoutError) as raised:
            await sdk.contact_methods.get_primary("c", "email")

        assert isinstance(raised.value, APIError)


async def test_nobody_there_is_a_network_error() -> None:
    async with AsyncContactsClient("127.0.0.1:1", timeout=5) as sdk:
        with pytest.raises(NetworkError) as raised:
            await sdk.contact_methods.create(client_id="c", type="email", value="a@example.com")

    assert raised.value.reason is None
    assert raised.value.code == "UNAVAILABLE"


@pytest.mark.parametrize("code", [code for code in grpc.StatusCode if code is not grpc.StatusCode.OK])
def test_every_status_has_an_exception(code: grpc.StatusCode) -> None:
    assert code in sdk_errors._CLASSES


def test_every_exception_is_exported() -> None:
    def below(kind: type[BaseException]) -> set[str]:
        return {kind.__name__}.union(*(below(child) for child in kind.__subclasses__()))

    assert below(ContactsError) <= set(sdk_package.__all__)


def test_an_unavailable_database_is_a_fault_of_the_server() -> None:
    error = sdk_errors.from_batch_error(pb.BatchError(code=14, reason="STORE_UNAVAILABLE", message="m"))

    assert isinstance(error, ServerError)


def test_filters_become_messages() -> None:
    noon = datetime(2026, 11, 23, 12, tzinfo=UTC)

    message = filter_message(
        {"client_id": "c", "type": one_of("email", "fax"), "value": contains("@x"), "id": ["a", "b"],
         "is_primary": False, "metadata": {"k": "v"}, "created_before": noon, "updated_before": None, "label": None}
    )  # fmt: skip

    assert message is not None
    assert (list(message.client_ids), list(message.ids)) == (["c"], ["a", "b"])
    assert list(message.types) == [pb.CONTACT_METHOD_TYPE_EMAIL, pb.CONTACT_METHOD_TYPE_FAX]
    assert (message.value_contains, dict(message.metadata)) == ("@x", {"k": "v"})
    assert message.HasField("is_primary")
    assert message.created_before.seconds == int(noon.timestamp())


@pytest.mark.parametrize(
    ("filter_", "hint"),
    [
        ({"types": "email"}, "did you mean type"),
        ({"type": "pager"}, "must be one of"),
        ({"id": []}, "at least one"),
        ({"created_before": datetime(2026, 1, 1)}, "time zone"),
        ({"is_primary": "yes"}, "wrong type"),
    ],
)
def test_filters_that_say_nothing_are_refused(filter_: dict[str, Any], hint: str) -> None:
    with pytest.raises(ValidationError, match=hint):
        filter_message(filter_)


def test_sorts_become_messages() -> None:
    (key,) = sort_messages("-updated_at")

    assert (key.field, key.descending) == (pb.CONTACT_METHOD_SORT_FIELD_UPDATED_AT, True)
    with pytest.raises(ValidationError):
        sort_messages("value")


async def test_the_helpers_take_any_iterator() -> None:
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


async def test_update_tells_omitted_from_none(embedded_api: Api) -> None:
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


async def test_partial_batches_sort_their_outcomes(embedded_api: Api) -> None:
    async with AsyncContactsClient(embedded_api.target) as sdk:
        await sdk.contact_methods.create(client_id="c", type="email", value="a@example.com", external_id="x")

        result = await sdk.contact_methods.create_many(
            [
                {"client_id": "c", "type": "email", "value": "b@example.com"},
                {"client_id": "c", "type": "email", "value": "c@example.com", "external_id": "x"},
                {"client_id": "c", "type": "email", "value": "nonsense"},
            ],
            atomic=False,
        )

    assert not result.atomic
    assert [(index, record.value) for index, record in result.succeeded] == [(0, "b@example.com")]
    (taken_at, taken), (broken_at, broken) = result.failed
    assert (taken_at, broken_at) == (1, 2)
    assert isinstance(taken, ConflictError)
    assert taken.reason == "EXTERNAL_ID_TAKEN"
    assert isinstance(broken, ValidationError)
    assert [issue.field for issue in broken.issues] == ["requests[2].value"]


async def test_the_blocking_client_has_the_same_methods_and_works(embedded_api: Api) -> None:
    def use() -> list[str]:
        with ContactsClient(embedded_api.target) as sdk:
            for name in "abc":
                sdk.contact_methods.create(client_id="c", type="email", value=f"{name}@example.com")
            return [record.value for record in sdk.contact_methods.iterate({"client_id": "c"}, page_size=2)]

    public = [name for name in vars(sdk_package.AsyncContactMethods) if not name.startswith("_")]
    assert public == [name for name in vars(sdk_package.ContactMethods) if not name.startswith("_")]
    assert await asyncio.to_thread(use) == ["a@example.com", "b@example.com", "c@example.com"]


def test_importing_the_client_loads_neither_drivers_nor_server() -> None:
    script = (
        "import sys, contactsvc_client;"
        "bad = {'motor', 'pymongo', 'bson', 'phonenumbers', 'contactsvc.runtime.server', 'contactsvc.store'};"
        "sys.exit(str(bad & set(sys.modules)) if bad & set(sys.modules) else 0)"
    )

    subprocess.run([sys.executable, "-c", script], check=True)


async def use_every_method(sdk: Any) -> dict[str, Any]:
    """Call every method of either client, with arguments of every kind."""

    async def settled(result: Any) -> Any:
        return await result if asyncio.iscoroutine(result) else result

    do = sdk.contact_methods
    seen: dict[str, Any] = {}
    made = await settled(do.create(client_id="c", type="email", value="a@example.com", is_primary=True))
    seen["update"] = await settled(do.update(made.id, label="Work", etag=made.etag))
    seen["create_many"] = await settled(
        do.create_many([{"client_id": "c", "type": "email", "value": "b@example.com", "external_id": "b"}])
    )
    seen["update_many"] = await settled(do.update_many([{"id": made.id, "label": None, "metadata": {"k": "v"}}]))
    seen["upsert"] = await settled(
        do.upsert_by_external_id("b", client_id="c", type="email", value="b@example.com", is_primary=True)
    )
    seen["upsert_many"] = await settled(
        do.upsert_many_by_external_id(
            [
                {"external_id": "b", "client_id": "c", "type": "email", "value": "b@example.com"},
                {"external_id": "x", "client_id": "c", "type": "fax", "value": "nonsense"},
            ],
            atomic=False,
        )
    )
    seen["retrieve_many"] = await settled(do.retrieve_many([made.id, "nobody"]))
    seen["sync"] = await settled(
        do.sync("c", [{"type": "email", "value": "b@example.com"}, {"type": "other", "value": "@b"}], replace=True)
    )
    seen["delete_many"] = await settled(do.delete_many([seen["sync"].created[0].id]))
    seen["erase"] = await settled(do.erase_client("c"))
    return seen


@pytest.mark.parametrize("kind", [AsyncContactsClient, ContactsClient])
async def test_every_write_has_a_method(embedded_api: Api, kind: Any) -> None:
    if kind is AsyncContactsClient:
        async with AsyncContactsClient(embedded_api.target) as sdk:
            seen = await use_every_method(sdk)
    else:
        with ContactsClient(embedded_api.target) as blocking:
            seen = await asyncio.to_thread(lambda: asyncio.run(use_every_method(blocking)))

    made = seen["update"]
    assert made.label == "Work"
    (second,) = seen["create_many"].data
    assert [(record.label, dict(record.metadata)) for record in seen["update_many"].data] == [(None, {"k": "v"})]
    assert (seen["upsert"].id, seen["upsert"].action, seen["upsert"].demoted_ids) == (second.id, "updated", (made.id,))
    ((_, unchanged),) = seen["upsert_many"].succeeded
    assert (unchanged.action, unchanged.etag) == ("unchanged", seen["upsert"].etag)
    assert [(index, error.reason) for index, error in seen["upsert_many"].failed] == [(1, "INVALID_FIELD")]
    assert ([record.id for record in seen["retrieve_many"].data], seen["retrieve_many"].missing_ids) == (
        [made.id],
        ["nobody"],
    )
    sync = seen["sync"]
    assert [record.value for record in sync.created] == ["@b"]
    assert ([record.id for record in sync.unchanged], sync.deleted_ids) == ([second.id], [made.id])
    assert seen["delete_many"].data == [sync.created[0].id]
    assert seen["erase"] == 1


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
async def test_items_that_cannot_be_sent_are_named(items: list[dict[str, Any]], at_fault: str) -> None:
    async with AsyncContactsClient("127.0.0.1:1") as sdk:
        with pytest.raises(ValidationError, match=at_fault):
            await sdk.contact_methods.update_many(items)


async def test_what_the_service_can_judge_is_left_to_it_in_a_batch(embedded_api: Api) -> None:
    items: list[dict[str, Any]] = [
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


async def test_every_error_names_the_call_in_the_log_of_the_service(embedded_api: Api) -> None:
    async with AsyncContactsClient(embedded_api.target) as sdk:
        with pytest.raises(NotFoundError) as alone:
            await sdk.contact_methods.retrieve("nobody")
        partial = await sdk.contact_methods.delete_many(["nobody", "nothing"], atomic=False)
        with pytest.raises(APIError) as atomic:
            await sdk.contact_methods.delete_many(["nobody"])
    async with AsyncContactsClient("127.0.0.1:1", timeout=5) as sdk:
        with pytest.raises(NetworkError) as lost:
            await sdk.contact_methods.retrieve("nobody")

    ids = {error.request_id for error in (alone.value, atomic.value, lost.value, partial.failed[0][1])}
    assert None not in ids
    assert len(ids) == 4
    assert partial.failed[0][1].request_id == partial.failed[1][1].request_id


async def test_records_and_errors_can_be_copied_and_pickled(embedded_api: Api) -> None:
    async with AsyncContactsClient(embedded_api.target) as sdk:
        record = await sdk.contact_methods.create(
            client_id="c", type="email", value="a@example.com", metadata={"source": "crm"}
        )
        with pytest.raises(ValidationError) as raised:
            await sdk.contact_methods.create(client_id="", type="email", value="a@example.com")

    assert pickle.loads(pickle.dumps(record)) == copy.deepcopy(record) == record  # noqa: S301
    assert json.loads(json.dumps(dataclasses.asdict(record), default=str))["metadata"] == {"source": "crm"}
    with pytest.raises(TypeError, match="read only"):
        record.metadata["source"] = "else"  # type: ignore[index]
    again = pickle.loads(pickle.dumps(raised.value))  # noqa: S301
    assert (type(again), str(again), again.to_dict()) == (ValidationError, str(raised.value), raised.value.to_dict())


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
async def test_arguments_of_a_wrong_kind_are_validation_errors(call: Callable[[Any], Awaitable[Any]]) -> None:
    async with AsyncContactsClient("127.0.0.1:1") as sdk:
        with pytest.raises(ValidationError):
            await call(sdk.contact_methods)


async def test_a_key_from_a_file_may_end_with_a_line_break() -> None:
    async with faked() as (service, target), AsyncContactsClient(target, api_key="k\n") as sdk:
        await sdk.contact_methods.retrieve("x")

        assert service.seen[0][1]["authorization"] == "Bearer k"
    with pytest.raises(ValidationError, match="api_key"):
        AsyncContactsClient("127.0.0.1:1", api_key="clé")


async def test_a_request_that_is_too_large_is_not_worth_another_try(embedded_api: Api) -> None:
    metadata = {f"k{i}": "v" * 500 for i in range(50)}
    async with AsyncContactsClient(embedded_api.target) as sdk:
        with pytest.raises(ValidationError, match="larger than max"):
            await sdk.contact_methods.create_many(
                [{"client_id": "c", "type": "other", "value": "x", "metadata": metadata}] * 250
            )


async def test_an_iteration_over_many_pages_gives_every_record_once(embedded_api: Api) -> None:
    async with AsyncContactsClient(embedded_api.target) as sdk:
        for batch in range(4):
            await sdk.contact_methods.create_many(
                [{"client_id": "c", "type": "other", "value": f"{batch}-{i}"} for i in range(250)]
            )

        found = [record.value async for record in sdk.contact_methods.iterate({"client_id": "c"})]
        first = await collect_up_to(sdk.contact_methods.iterate(), 300)

    assert found == [f"{batch}-{i}" for batch in range(4) for i in range(250)]
    assert len(first) == 300
