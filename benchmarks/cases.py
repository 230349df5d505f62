"""The cases: what is called, with which requests, and what a right answer looks like."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import dataclass, field

from benchmarks import data
from contactsvc.v1 import contact_methods_pb2 as pb

BATCH_SIZE = 250
_POOL = 2_000
_BATCH_POOL = 40
_SERVICE = "/contactsvc.v1.ContactMethodsService/"

_SERVERS = ("floor", "contactsvc", "unbatched", "pymongo", "fastapi", "node")

Check = Callable[[list[bytes]], bool]
"""Tells whether the messages of an answer are right."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """One thing to measure.

    Attributes:
        name: by which `--cases` knows it.
        title: what the report calls it.
        method: the path of the RPC.
        messages: its requests, used in turn.
        http: the same for the HTTP service, if it offers this.
        is_right: tells whether the answer to the first request is right.
        http_is_right: the same for its JSON.
        with_request_id: whether each call carries a fresh request_id.
        writes: whether calls leave records behind.
        levels: how many calls are in flight; None means those of the run.
        items: how many documents one call carries.
        streams: whether the answer is a stream.
        calls: how many calls are one measurement; None means as many as fit into its time.
        metadata: of each call.
        servers: which take part.
    """

    name: str
    title: str
    method: str
    messages: list[bytes]
    is_right: Check
    http: list[bytes] = field(default_factory=list)
    http_is_right: Callable[[bytes], bool] = bool
    with_request_id: bool = False
    writes: bool = False
    levels: tuple[int, ...] | None = None
    items: int = 1
    streams: bool = False
    calls: int | None = None
    metadata: list[tuple[str, str]] = field(default_factory=list)
    servers: tuple[str, ...] = _SERVERS


NAMES = ("get", "primary", "list", "create", "create-retry-safe", "batch", "stream")


def all_cases(records: int, stream_records: int) -> list[Case]:
    """Return all cases over this many records, in the order of `NAMES`."""
    # Not for secrets: the same requests in every run.
    numbers = random.Random(20260101).choices(range(records), k=_POOL)  # noqa: S311
    return [_get(numbers), _primary(numbers), _list(numbers), *_creates(), _batch(), _stream(stream_records)]


def _get(numbers: list[int]) -> Case:
    first = data.id_of(numbers[0])
    return Case(
        name="get",
        title="get by id",
        method=_SERVICE + "GetContactMethod",
        messages=[pb.GetContactMethodRequest(id=data.id_of(number)).SerializeToString() for number in numbers],
        is_right=lambda got: pb.GetContactMethodResponse.FromString(got[0]).contact_method.id == first,
        http=[_http_get(f"/contact-methods/{data.id_of(number)}") for number in numbers],
        http_is_right=lambda body: bool(json.loads(body)["id"] == first),
    )


def _primary(numbers: list[int]) -> Case:
    email, clients = pb.CONTACT_METHOD_TYPE_EMAIL, [data.client_of(number) for number in numbers]
    return Case(
        name="primary",
        title="get primary",
        method=_SERVICE + "GetPrimaryContactMethod",
        messages=[
            pb.GetPrimaryContactMethodRequest(client_id=client, type=email).SerializeToString() for client in clients
        ],
        is_right=lambda got: (
            pb.GetPrimaryContactMethodResponse.FromString(got[0]).contact_method.client_id == clients[0]
        ),
        http=[_http_get(f"/clients/{client}/primary/email") for client in clients],
        http_is_right=lambda body: bool(json.loads(body)["client_id"] == clients[0]),
    )


def _list(numbers: list[int]) -> Case:
    clients = [data.client_of(number) for number in numbers]
    count = data.RECORDS_OF_A_CLIENT
    return Case(
        name="list",
        title=f"list by client ({count})",
        method=_SERVICE + "ListClientContactMethods",
        messages=[pb.ListClientContactMethodsRequest(client_id=client).SerializeToString() for client in clients],
        is_right=lambda got: len(pb.ListClientContactMethodsResponse.FromString(got[0]).contact_methods) == count,
        http=[_http_get(f"/clients/{client}") for client in clients],
        http_is_right=lambda body: len(json.loads(body)) == count,
    )


def _creates() -> list[Case]:
    requests = [_new(number) for number in range(_POOL)]

    def is_right(got: list[bytes]) -> bool:
        return pb.CreateContactMethodResponse.FromString(got[0]).contact_method.value == requests[0].value

    method, messages = _SERVICE + "CreateContactMethod", [request.SerializeToString() for request in requests]
    return [
        Case(
            name="create",
            title="create",
            method=method,
            messages=messages,
            is_right=is_right,
            http=[_http_post("/contact-methods", _as_json(request)) for request in requests],
            http_is_right=lambda body: bool(json.loads(body)["value"] == requests[0].value),
            writes=True,
        ),
        Case(
            name="create-retry-safe",
            title="create, retry-safe",
            method=method,
            messages=messages,
            is_right=is_right,
            with_request_id=True,
            writes=True,
            servers=("contactsvc", "unbatched"),
        ),
    ]


def _batch() -> Case:
    batches = [[_new(number) for number in range(BATCH_SIZE)] for _ in range(_BATCH_POOL)]
    return Case(
        name="batch",
        title=f"batch create of {BATCH_SIZE}",
        method=_SERVICE + "BatchCreateContactMethods",
        messages=[pb.BatchCreateContactMethodsRequest(requests=batch).SerializeToString() for batch in batches],
        is_right=lambda got: len(pb.BatchCreateContactMethodsResponse.FromString(got[0]).results) == BATCH_SIZE,
        http=[_http_post("/batches", [_as_json(request) for request in batch]) for batch in batches],
        http_is_right=lambda body: len(json.loads(body)) == BATCH_SIZE,
        writes=True,
        levels=(1,),
        items=BATCH_SIZE,
        servers=(*_SERVERS, "driver"),
    )


def refused_batch() -> bytes:
    """Return a batch create whose last item lacks its value."""
    batch = [_new(number) for number in range(BATCH_SIZE)]
    batch[-1].value = ""
    return pb.BatchCreateContactMethodsRequest(requests=batch).SerializeToString()


def _stream(records: int) -> Case:
    def is_right(got: list[bytes]) -> bool:
        pages = (pb.StreamContactMethodsResponse.FromString(page) for page in got)
        return sum(len(page.contact_methods) for page in pages) == records

    return Case(
        name="stream",
        title=f"stream of {records:,}",
        method=_SERVICE + "StreamContactMethods",
        messages=[pb.StreamContactMethodsRequest().SerializeToString()],
        is_right=is_right,
        http=[_http_get("/stream")],
        http_is_right=lambda body: body.count(b'"client_id"') == records,
        levels=(1,),
        items=records,
        streams=True,
        calls=1,
        metadata=[("x-environment", "test")],
        servers=(*_SERVERS, "driver"),
    )


def _new(number: int) -> pb.CreateContactMethodRequest:
    return pb.CreateContactMethodRequest(
        client_id=data.new_client(),
        type=pb.CONTACT_METHOD_TYPE_EMAIL,
        value=data.new_email(number),
        label=data.NEW_LABEL,
        metadata=data.NEW_METADATA,
    )


def _http_get(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode()


def _http_post(path: str, content: object) -> bytes:
    body = json.dumps(content)
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode()


def _as_json(request: pb.CreateContactMethodRequest) -> dict[str, object]:
    return {
        "client_id": request.client_id,
        "type": "email",
        "value": request.value,
        "label": request.label,
        "metadata": dict(request.metadata),
    }
