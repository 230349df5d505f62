"""Requests that are too large, too many or too deep are refused at once and leave no memory behind."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Iterator
from typing import Any

import pytest
from contactsvc_client import AsyncContactsClient
from google.protobuf.descriptor import Descriptor, FieldDescriptor, MethodDescriptor
from grpc import StatusCode

from contactsvc.v1 import contact_methods_pb2 as pb
from tests.conftest import Api
from tests.hostile.answers import DEADLINE, REASONS
from tests.hostile.messages import class_of
from tests.hostile.sending import METHODS, answer_to, expect_invalid_field, send
from tests.hostile.texts import CANARIES

OTHER = pb.CONTACT_METHOD_TYPE_OTHER
# gRPC's default limit.
LIMIT = 4 * 1024 * 1024
MANY = 100_000


def fields_of(descriptor: Descriptor) -> Iterator[tuple[tuple[FieldDescriptor, ...], FieldDescriptor]]:
    """Yield every field of a message and of its nested messages, with the path of fields to it."""
    for field in descriptor.fields:
        yield (), field
        inner = field.message_type
        if inner is not None and not inner.GetOptions().map_entry and inner.file.package != "google.protobuf":
            for way, deeper in fields_of(inner):
                yield (field, *way), deeper


def request_with(
    method: MethodDescriptor, way: tuple[FieldDescriptor, ...], field: FieldDescriptor, content: Any
) -> Any:
    """Return a request in which only one field is set."""
    request = class_of(method.input_type)()
    at = request
    for step in way:
        at = getattr(at, step.name).add() if step.is_repeated else getattr(at, step.name)
    if isinstance(content, dict):
        getattr(at, field.name).update(content)
    elif field.is_repeated:
        getattr(at, field.name).extend(content)
    else:
        setattr(at, field.name, content)
    return request


def cases(kind: str) -> list[Any]:
    """Return every field of a kind in every request, as test parameters."""
    found = []
    for method in METHODS.values():
        for way, field in fields_of(method.input_type):
            if kind == "map":
                fits = field.message_type is not None and field.message_type.GetOptions().map_entry
            elif kind == "repeated":
                fits = field.is_repeated and not (field.message_type and field.message_type.GetOptions().map_entry)
            else:
                fits = field.cpp_type == FieldDescriptor.CPPTYPE_STRING
            if fits:
                name = ".".join([method.name, *(step.name for step in way), field.name])
                found.append(pytest.param(method, way, field, id=name))
    return found


@pytest.mark.parametrize(("method", "way", "field"), cases("repeated"))
async def test_a_repeated_field_of_100000_empty_elements_is_refused(
    hostile_api: Api, method: MethodDescriptor, way: tuple[FieldDescriptor, ...], field: FieldDescriptor
) -> None:
    if field.message_type is not None:
        element = class_of(field.message_type)()
    else:
        element = "" if field.cpp_type == FieldDescriptor.CPPTYPE_STRING else 0
    request = request_with(method, way, field, [element] * MANY)

    expect_invalid_field(await answer_to(hostile_api, method, request.SerializeToString()))


@pytest.mark.parametrize(("method", "way", "field"), cases("map"))
async def test_a_map_of_100000_pairs_is_refused(
    hostile_api: Api, method: MethodDescriptor, way: tuple[FieldDescriptor, ...], field: FieldDescriptor
) -> None:
    request = request_with(method, way, field, {f"k{number}": "v" for number in range(MANY)})

    expect_invalid_field(await answer_to(hostile_api, method, request.SerializeToString()))


@pytest.mark.parametrize(("method", "way", "field"), cases("string"))
async def test_a_string_of_4_megabytes_is_refused_and_not_repeated(
    hostile_api: Api, method: MethodDescriptor, way: tuple[FieldDescriptor, ...], field: FieldDescriptor
) -> None:
    text = CANARIES[0] + "x" * (LIMIT - 200)
    request = request_with(method, way, field, [text] if field.is_repeated else text)

    answer = await answer_to(hostile_api, method, request.SerializeToString())

    assert answer.code is StatusCode.INVALID_ARGUMENT
    assert answer.reason in REASONS[StatusCode.INVALID_ARGUMENT]


@pytest.mark.parametrize("method", METHODS.values(), ids=lambda method: method.name)
async def test_a_message_above_the_limit_of_grpc_is_refused(hostile_api: Api, method: MethodDescriptor) -> None:
    answer = await send(hostile_api, method, b"\xfa\x3f" + b"\x80\x80\x80\x02" + bytes(LIMIT))

    assert answer.code is StatusCode.RESOURCE_EXHAUSTED


async def test_a_batch_at_the_limits_of_items_and_pairs_is_stored(patient_api: Api) -> None:
    # Short values: the embedded database occasionally stalls for many seconds over a batch of several megabytes.
    metadata = {f"{number:040}": "v" for number in range(50)}
    requests = [
        pb.CreateContactMethodRequest(client_id="c", type=OTHER, value=f"value {number}", metadata=metadata)
        for number in range(250)
    ]
    raw = pb.BatchCreateContactMethodsRequest(requests=requests).SerializeToString()

    answer = await answer_to(patient_api, METHODS["BatchCreateContactMethods"], raw)

    assert answer.code is StatusCode.OK
    assert await patient_api.total() == 250


async def create_large(api: Api) -> list[str]:
    """Create records that together exceed the message limit, and return their ids."""
    metadata = {f"{number:040}": "\U0001f600" * 500 for number in range(50)}
    requests = [
        pb.CreateContactMethodRequest(client_id="c", type=OTHER, value=f"value {number}", metadata=metadata)
        for number in range(12)
    ]
    raw = pb.BatchCreateContactMethodsRequest(requests=requests).SerializeToString()
    ids = []
    for _ in range(4):
        answer = await answer_to(api, METHODS["BatchCreateContactMethods"], raw)
        made = pb.BatchCreateContactMethodsResponse.FromString(answer.responses[0])
        ids += [result.contact_method.id for result in made.results]
    return ids


async def test_items_at_all_limits_of_metadata_are_listed_and_streamed_in_pages_that_fit(patient_api: Api) -> None:
    ids = await create_large(patient_api)

    answer = await answer_to(patient_api, METHODS["StreamContactMethods"], b"")

    pages = [pb.StreamContactMethodsResponse.FromString(page) for page in answer.responses]
    assert sorted(record.id for page in pages for record in page.contact_methods) == sorted(ids)


async def test_a_client_that_allows_large_answers_gets_them_whole(patient_api: Api) -> None:
    ids = await create_large(patient_api)
    async with AsyncContactsClient(patient_api.target, timeout=DEADLINE) as sdk:
        found = await sdk.contact_methods.retrieve_many(ids)
        changed = await sdk.contact_methods.update_many([{"id": id_, "label": "x"} for id_ in ids])

    assert [record.id for record in found.data] == ids
    assert {record.label for record in changed.data} == {"x"}


async def test_a_sort_of_many_valid_keys_is_refused(hostile_api: Api) -> None:
    key = pb.ContactMethodSort(field=pb.CONTACT_METHOD_SORT_FIELD_CREATED_AT)
    request = pb.ListContactMethodsRequest(sort=[key] * MANY)

    expect_invalid_field(await answer_to(hostile_api, METHODS["ListContactMethods"], request.SerializeToString()))


@pytest.mark.parametrize("partial", [False, True])
@pytest.mark.parametrize(
    ("rpc", "item"),
    [
        ("BatchCreateContactMethods", pb.CreateContactMethodRequest(metadata={f" {n}": "" for n in range(50)})),
        ("BatchUpdateContactMethods", pb.UpdateContactMethodRequest(metadata={f" {n}": "" for n in range(50)})),
        (
            "BatchUpdateContactMethods",
            pb.UpdateContactMethodRequest(remove_metadata_keys=[CANARIES[0]] * 50, metadata={"k": "v" * 501}),
        ),
        ("BatchUpsertContactMethods", pb.UpsertContactMethodRequest(metadata={f"{n:040}": "" for n in range(50)})),
    ],
)
async def test_a_batch_that_breaks_all_rules_in_all_items_gets_an_answer_that_fits(
    hostile_api: Api, rpc: str, item: Any, partial: bool
) -> None:
    request: Any = class_of(METHODS[rpc].input_type)(requests=[item] * 250, partial=partial)

    answer = await answer_to(hostile_api, METHODS[rpc], request.SerializeToString())

    if partial:
        assert answer.code is StatusCode.OK
    else:
        expect_invalid_field(answer)


def varint(number: int) -> bytes:
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*encoded, number])


def nested_bytes(depth: int) -> bytes:
    """Return an unknown length-delimited field, nested many times."""
    lengths = [0]
    for _ in range(depth):
        lengths.append(lengths[-1] + 2 + len(varint(lengths[-1])))
    return b"".join(b"\xfa\x3f" + varint(length) for length in reversed(lengths))


STRANGE_FIELDS = {
    "groups in groups": b"\xfb\x3f" * 5000 + b"\xfc\x3f" * 5000,
    "groups without an end": b"\xfb\x3f" * 1_000_000,
    "an end without a group": b"\xfc\x3f",
    "bytes in bytes": nested_bytes(100_000),
    "thousands of fields": b"".join(varint((number << 3) | 0) + b"\x01" for number in range(1000, 51_000)),
    "one field again and again": b"\xf8\x3f\x01" * 1_000_000,
    "field zero": b"\x00\x01",
    "a length beyond the end": b"\xfa\x3f\xff\xff\xff\xff\x07",
    "an endless varint": b"\xf8\x3f" + b"\xff" * 1000,
    "wire types that there are not": b"\xfe\x3f\xff\x3f",
}


@pytest.mark.parametrize("method", METHODS.values(), ids=lambda method: method.name)
async def test_unknown_fields_of_any_shape_are_ignored_or_malformed(hostile_api: Api, method: MethodDescriptor) -> None:
    without_them = await answer_to(hostile_api, method, b"")
    for strange, raw in STRANGE_FIELDS.items():
        answer = await answer_to(hostile_api, method, raw)

        if answer.reason != "MALFORMED_REQUEST":
            assert (answer.code, answer.reason) == (without_them.code, without_them.reason), strange


async def test_hostile_requests_leave_no_memory_behind(hostile_api: Api) -> None:
    attacks = [
        ("BatchCreateContactMethods", request.SerializeToString())
        for request in (
            pb.BatchCreateContactMethodsRequest(requests=[pb.CreateContactMethodRequest()] * 20_000),
            pb.BatchCreateContactMethodsRequest(requests=[pb.CreateContactMethodRequest()] * 250, partial=True),
        )
    ]
    attacks += [
        ("ListContactMethods", b"\xff" * 1_000_000),
        ("ListContactMethods", pb.ListContactMethodsRequest(page_token="x" * 1_000_000).SerializeToString()),
        ("GetContactMethod", pb.GetContactMethodRequest(id="x" * 1_000_000).SerializeToString()),
    ]

    async def attack(times: int) -> int:
        for _ in range(times):
            for rpc, raw in attacks:
                await send(hostile_api, METHODS[rpc], raw)
        gc.collect()
        return tracemalloc.get_traced_memory()[0]

    tracemalloc.start()
    try:
        after_some = await attack(3)
        after_many = await attack(10)
    finally:
        tracemalloc.stop()

    # Each round transfers megabytes, so that a leak of one would show.
    assert after_many - after_some < 1_000_000
