"""Repeated requests: the answer that a repetition must give, and other requests to send under a used id."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from contactsvc.v1 import contact_methods_pb2 as pb
from tests.conftest import RpcFailure
from tests.property.answers import records_in
from tests.property.requests import TYPES, VALUES, Requests

_TARGET: dict[str, Any] = {"client_id": "c1", "type": TYPES[0], "value": VALUES[0], "label": "reused"}

OTHER_REQUESTS: dict[str, Callable[[Requests], Any]] = {
    "CreateContactMethod": lambda _: pb.CreateContactMethodRequest(**_TARGET),
    "UpdateContactMethod": lambda requests: pb.UpdateContactMethodRequest(id=requests.id(), label="reused"),
    "DeleteContactMethod": lambda requests: requests.delete(),
    "UpsertContactMethod": lambda _: pb.UpsertContactMethodRequest(**_TARGET, external_id="x1"),
    "BatchCreateContactMethods": lambda _: pb.BatchCreateContactMethodsRequest(
        requests=[pb.CreateContactMethodRequest(**_TARGET)]
    ),
    "BatchUpdateContactMethods": lambda requests: pb.BatchUpdateContactMethodsRequest(
        requests=[pb.UpdateContactMethodRequest(id=requests.id(), label="reused")], partial=True
    ),
    "BatchDeleteContactMethods": lambda requests: pb.BatchDeleteContactMethodsRequest(
        ids=[requests.id()], partial=True
    ),
    "BatchUpsertContactMethods": lambda _: pb.BatchUpsertContactMethodsRequest(
        requests=[pb.UpsertContactMethodRequest(**_TARGET, external_id="x1")]
    ),
    "SyncClientContactMethods": lambda _: pb.SyncClientContactMethodsRequest(
        client_id="c1", allow_empty_replace=True, replace=True
    ),
    "EraseClientContactMethods": lambda requests: requests.erase(),
}
"""A request of each write, to be sent under the request_id of another one."""


def is_repetition(first: Any, answer: Any, messages: Mapping[str, pb.ContactMethod]) -> bool:
    """Return whether an answer is the first one with its records in their present state.

    Args:
        first: the first answer.
        answer: the answer to the repetition.
        messages: the present records.
    """
    gone = {message.id for message in records_in(first) if message.id not in messages}
    if isinstance(answer, RpcFailure):
        # Batches have errors of items for this. A sync has not: it may fail or leave the record out.
        return bool(gone) and answer.reason == "CONTACT_METHOD_NOT_FOUND" and not hasattr(first, "results")
    expected = type(first)()
    expected.CopyFrom(first)
    if isinstance(first, pb.SyncClientContactMethodsResponse):
        for name in ("created", "updated", "unchanged"):
            now = [messages[message.id] for message in getattr(first, name) if message.id in messages]
            expected.ClearField(name)
            getattr(expected, name).extend(now)
        return bool(expected == answer)
    if hasattr(first, "results"):
        return len(answer.results) == len(expected.results) and all(
            _is_repeated_result(one, other, gone, messages)
            for one, other in zip(expected.results, answer.results, strict=True)
        )
    for message in records_in(expected):
        if message.id in gone:
            return False
        message.CopyFrom(messages[message.id])
    return bool(expected == answer)


def _is_repeated_result(first: Any, result: Any, gone: set[str], messages: Mapping[str, pb.ContactMethod]) -> bool:
    if first.WhichOneof("outcome") != "contact_method":
        return bool(first == result)
    if first.contact_method.id in gone:
        return (result.error.code, result.error.reason) == (5, "CONTACT_METHOD_NOT_FOUND")
    first.contact_method.CopyFrom(messages[first.contact_method.id])
    return bool(first == result)
