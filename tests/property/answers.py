"""Comparison of the answers of the service with the predictions of the model."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

import grpc

from contactsvc.v1 import contact_methods_pb2 as pb
from tests.conftest import RpcFailure, failure_in
from tests.property.world import Erased, Expected, Fault, Faults, Refused, Result, Success, Synced

CODES = {
    "INVALID_FIELD": grpc.StatusCode.INVALID_ARGUMENT,
    "REQUEST_ID_REUSED": grpc.StatusCode.INVALID_ARGUMENT,
    "CONTACT_METHOD_NOT_FOUND": grpc.StatusCode.NOT_FOUND,
    "EXTERNAL_ID_TAKEN": grpc.StatusCode.ALREADY_EXISTS,
    "ETAG_MISMATCH": grpc.StatusCode.ABORTED,
    "PRIMARY_REJECTED": grpc.StatusCode.FAILED_PRECONDITION,
    "METADATA_AMBIGUOUS": grpc.StatusCode.FAILED_PRECONDITION,
}
_BY_NUMBER = {code.value[0]: code for code in grpc.StatusCode}
_ITEM = re.compile(r"(?:requests|items|ids)\[(\d+)\]\.?")


def outcome_of(call: Any, request: Any) -> Any:
    """Make a blocking call and return its response or failure."""
    try:
        return call(request, timeout=30)
    except grpc.RpcError as error:
        return failure_in(error)


def records_in(response: Any) -> Iterator[pb.ContactMethod]:
    """Yield the records in the response to a write."""
    if isinstance(response, RpcFailure):
        return
    if isinstance(response, pb.SyncClientContactMethodsResponse):
        yield from [*response.created, *response.updated, *response.unchanged]
        return
    for part in getattr(response, "results", [response]):
        if "contact_method" in part.DESCRIPTOR.fields_by_name and part.HasField("contact_method"):
            yield part.contact_method


class Comparison:
    """Compares an answer with a prediction, and learns the ids of new records from it.

    Attributes:
        names: the ids of the records that the model calls `new-0`, `new-1`, ...
    """

    def __init__(self, known: Iterable[str]) -> None:
        self.names: dict[str, str] = {}
        self._known = set(known)

    def agrees(self, expected: Expected, actual: Any) -> bool:
        match expected:
            case Success():
                return not isinstance(actual, RpcFailure) and self._is_done(expected, actual)
            case tuple():
                return isinstance(actual, RpcFailure) and self._is_one_of(expected, actual)
            case list():
                return (
                    not isinstance(actual, RpcFailure)
                    and len(actual.results) == len(expected)
                    and all(self._is_outcome(*pair) for pair in zip(expected, actual.results, strict=True))
                )
            case Refused():
                return isinstance(actual, RpcFailure) and self._is_refused(expected, actual)
            case Synced():
                return not isinstance(actual, RpcFailure) and self._is_synced(expected, actual)
            case Erased():
                return not isinstance(actual, RpcFailure) and bool(actual.erased_count == expected.count)

    def real(self, id_: str) -> str:
        return self.names.get(id_, id_)

    def _is(self, predicted: str, actual: str) -> bool:
        if not predicted.startswith("new-"):
            return predicted == actual
        if predicted not in self.names and (actual in self._known or actual in self.names.values()):
            return False
        return self.names.setdefault(predicted, actual) == actual

    def _are(self, predicted: Iterable[str], actual: Iterable[str]) -> bool:
        return [self.real(id_) for id_ in predicted] == list(actual)

    def _is_done(self, done: Success, actual: Any) -> bool:
        match actual:
            case pb.DeleteContactMethodResponse():
                return (actual.promoted_id if actual.HasField("promoted_id") else None) == done.promoted
            case pb.BatchDeleteContactMethodsResult():
                return bool(actual.deleted_id == done.id)
        return (
            self._is(done.id, actual.contact_method.id)
            and self._are(done.demoted, actual.demoted_ids)
            and getattr(actual, "action", pb.UPSERT_ACTION_UNSPECIFIED) == done.action
        )

    def _is_outcome(self, outcome: Result, result: Any) -> bool:
        if isinstance(outcome, Success):
            return result.WhichOneof("outcome") != "error" and self._is_done(outcome, result)
        if (
            result.WhichOneof("outcome") != "error"
            or getattr(result, "demoted_ids", None)
            or getattr(result, "action", 0)
        ):
            return False
        error = result.error
        fields = [violation.field for violation in error.field_violations]
        failure = RpcFailure(_BY_NUMBER[error.code], error.message, error.reason, dict(error.metadata), fields)
        return self._is_one_of(outcome, failure)

    def _is_one_of(self, faults: Faults, failure: RpcFailure) -> bool:
        return any(self._is_fault(fault, failure) for fault in faults)

    def _is_fault(self, fault: Fault, failure: RpcFailure) -> bool:
        if failure.reason != fault.reason or failure.code is not CODES[fault.reason]:
            return False
        if fault.existing_id is not None and failure.metadata.get("existing_id") != self.real(fault.existing_id):
            return False
        named = set(failure.fields)
        within = {_ITEM.sub("", path, count=1) for path in named}
        return fault.reason != "INVALID_FIELD" or fault.fields in (named, within)

    def _is_refused(self, refused: Refused, failure: RpcFailure) -> bool:
        reasons = {fault.reason for faults in refused.faults.values() for fault in faults}
        if failure.reason not in reasons or failure.code is not CODES[failure.reason]:
            return False
        if failure.metadata.get("existing_id", "") not in {"", *self._known}:
            return False
        positions = {int(match[1]) for path in failure.fields if (match := _ITEM.match(path))}
        return refused.at_least <= positions <= refused.faults.keys()

    def _is_synced(self, synced: Synced, actual: Any) -> bool:
        if len(synced.created) != len(actual.created):
            return False
        if not all(self._is(id_, record.id) for id_, record in zip(synced.created, actual.created, strict=True)):
            return False
        updated, unchanged = [[record.id for record in part] for part in (actual.updated, actual.unchanged)]
        return (
            updated == [id_ for id_, has_changed in synced.matched if has_changed]
            and unchanged == [id_ for id_, has_changed in synced.matched if not has_changed]
            and len(set(actual.deleted_ids)) == len(actual.deleted_ids)
            and synced.deleted <= set(actual.deleted_ids) <= synced.deleted | synced.missing
            and {self.real(id_) for id_ in synced.demoted} == set(actual.demoted_ids)
        )
