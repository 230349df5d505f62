"""The cases: the calls, their requests, and what a correct answer contains."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import dataclass, field

from benchmarks import data
from benchmarks.closed_loop import PLACEHOLDER
from contactsvc.v1 import contact_methods_pb2 as pb

BATCH_SIZE = 250
_POOL = 2_000
_BATCH_POOL = 40
_SERVICE = "/contactsvc.v1.ContactMethodsService/"

_SERVERS = ("floor", "contactsvc", "unbatched", "pymongo", "fastapi", "node", "go")

Check = Callable[[list[bytes]], bool]
"""Returns whether the messages of an answer are correct."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """A call to measure.

    Attributes:
        name: its name in `--cases`.
        title: its name in reports.
        method: the path of the RPC.
        messages: its requests, used in turn.
        http: the same for the HTTP service; empty if it lacks the call.
        is_right: returns whether the answer to the first request is correct.
        http_is_right: the same for its JSON.
        creates: whether calls leave new records behind.
        levels: numbers of calls in flight; None means those of the run.
        items: documents per call.
        streams: whether the answer is a stream.
        calls: calls per measurement; None means as many as fit into its time.
        metadata: of each call.
        servers: those that take part.
    """

    name: str
    title: str
    method: str
    messages: list[bytes]
    is_right: Check
    http: list[bytes] = field(default_factory=list)
    http_is_right: Callable[[bytes], bool] = bool
    creates: bool = False
    levels: tuple[int, ...] | None = None
    items: int = 1
    streams: bool = False
    calls: int | None = None
    metadata: list[tuple[str, str]] = field(default_factory=list)
    servers: tuple[str, ...] = _SERVERS


NAMES = ("get", "primary", "list", "create", "create-retry-safe", "update", "batch", "stream")


def all_cases(records: int, stream_records: int) -> list[Case]:
    """Return all cases over this many records, in the order of `NAMES`."""
    # Not for secrets: the same requests in every run.
    numbers = random.Random(20260101).choices(range(records), k=_POOL)  # noqa: S311
    return [
        _get(numbers),
        _primary(numbers),
        _list(numbers),
        _create(),
        _create_retry_safe(),
        _update(numbers),
        _batch(),
        _stream(stream_records),
    ]


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


def _create() -> Case:
    requests = _new_records()
    return Case(
        name="create",
        title="create",
        method=_SERVICE + "CreateContactMethod",
        messages=[request.SerializeToString() for request in requests],
        is_right=_is_created,
        http=[_http_send("POST", "/contact-methods", _as_json(request)) for request in requests],
        http_is_right=lambda body: bool(json.loads(body)["value"] == data.new_email(0)),
        creates=True,
    )


def _create_retry_safe() -> Case:
    requests = _new_records()
    for request in requests:
        request.request_id = PLACEHOLDER
    return Case(
        name="create-retry-safe",
        title="create, retry-safe",
        method=_SERVICE + "CreateContactMethod",
        messages=[request.SerializeToString() for request in requests],
        is_right=_is_created,
        creates=True,
        servers=("contactsvc", "unbatched"),
    )


def _is_created(got: list[bytes]) -> bool:
    return pb.CreateContactMethodResponse.FromString(got[0]).contact_method.value == data.new_email(0)


def _update(numbers: list[int]) -> Case:
    # A new label in each call: contactsvc writes nothing if the label is the same.
    first = data.id_of(numbers[0])

    def is_right(id_: str, label: str) -> bool:
        return id_ == first and len(label) == len(PLACEHOLDER)

    def message_is_right(got: list[bytes]) -> bool:
        updated = pb.UpdateContactMethodResponse.FromString(got[0]).contact_method
        return is_right(updated.id, updated.label)

    def json_is_right(body: bytes) -> bool:
        updated = json.loads(body)
        return is_right(updated["id"], updated["label"])

    return Case(
        name="update",
        title="update of the label",
        method=_SERVICE + "UpdateContactMethod",
        messages=[
            pb.UpdateContactMethodRequest(id=data.id_of(number), label=PLACEHOLDER).SerializeToString()
            for number in numbers
        ],
        is_right=message_is_right,
        http=[
            _http_send("PATCH", f"/contact-methods/{data.id_of(number)}", {"label": PLACEHOLDER}) for number in numbers
        ],
        http_is_right=json_is_right,
    )


def _batch() -> Case:
    batches = [[_new(number) for number in range(BATCH_SIZE)] for _ in range(_BATCH_POOL)]
    return Case(
        name="batch",
        title=f"batch create of {BATCH_SIZE}",
        method=_SERVICE + "BatchCreateContactMethods",
        messages=[pb.BatchCreateContactMethodsRequest(requests=batch).SerializeToString() for batch in batches],
        is_right=lambda got: len(pb.BatchCreateContactMethodsResponse.FromString(got[0]).results) == BATCH_SIZE,
        http=[_http_send("POST", "/batches", [_as_json(request) for request in batch]) for batch in batches],
        http_is_right=lambda body: len(json.loads(body)) == BATCH_SIZE,
        creates=True,
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


def _new_records() -> list[pb.CreateContactMethodRequest]:
    return [_new(number) for number in range(_POOL)]


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


def _http_send(verb: str, path: str, content: object) -> bytes:
    body = json.dumps(content)
    head = f"{verb} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode()


def _as_json(request: pb.CreateContactMethodRequest) -> dict[str, object]:
    return {
        "client_id": request.client_id,
        "type": "email",
        "value": request.value,
        "label": request.label,
        "metadata": dict(request.metadata),
    }
