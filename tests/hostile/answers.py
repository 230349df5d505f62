"""Checks that every answer must pass, for any request."""

from __future__ import annotations

import logging
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import grpc
from google.protobuf.descriptor import MethodDescriptor
from google.rpc import error_details_pb2, status_pb2
from grpc import StatusCode

from contactsvc.domain.kinds import ContactMethodType
from contactsvc.domain.normalization import ValueRules
from contactsvc.v1 import contact_methods_pb2 as pb
from tests.hostile.messages import class_of
from tests.hostile.texts import TRACES

# Fails a call that hangs, since DEADLINE_EXCEEDED is not among the reasons below. Large batches can take long.
DEADLINE = 120.0

# The possible errors with a healthy database that has transactions.
REASONS: dict[StatusCode, frozenset[str]] = {
    StatusCode.INVALID_ARGUMENT: frozenset(
        {"INVALID_FIELD", "INVALID_PAGE_TOKEN", "MALFORMED_REQUEST", "REQUEST_ID_REUSED"}
    ),
    StatusCode.NOT_FOUND: frozenset({"CONTACT_METHOD_NOT_FOUND"}),
    StatusCode.ALREADY_EXISTS: frozenset({"EXTERNAL_ID_TAKEN"}),
    StatusCode.ABORTED: frozenset({"ETAG_MISMATCH", "PRIMARY_CONFLICT"}),
    StatusCode.FAILED_PRECONDITION: frozenset(
        {"INVALID_FIELD", "METADATA_AMBIGUOUS", "PRIMARY_REJECTED", "VALUE_CHANGED", "VERIFICATION_NOT_STARTED"}
    ),
    StatusCode.RESOURCE_EXHAUSTED: frozenset({"VERIFICATION_EXHAUSTED", "VERIFICATION_LIMIT"}),
}
_BY_NUMBER = {code.value[0]: reasons for code, reasons in REASONS.items()}
_TYPES = {
    pb.CONTACT_METHOD_TYPE_EMAIL: ContactMethodType.EMAIL,
    pb.CONTACT_METHOD_TYPE_PHONE: ContactMethodType.PHONE,
    pb.CONTACT_METHOD_TYPE_FAX: ContactMethodType.FAX,
    pb.CONTACT_METHOD_TYPE_OTHER: ContactMethodType.OTHER,
}
_ID = re.compile(r"contact_[0-9abcdefghjkmnpqrstvwxyz]{26}")
_KEY = re.compile(r"[A-Za-z0-9_.:-]{1,40}")
_FILLERS = re.compile(rb"[ ()\-]")


def betrays(text: str | bytes) -> bool:
    """Return whether a planted value can be read in the text."""
    raw = text.encode(errors="replace") if isinstance(text, str) else text
    plain = _FILLERS.sub(b"", raw).lower()
    return any(trace.encode() in plain for trace in TRACES)


class WatchedLog(logging.Handler):
    """Collects log lines that show a planted value, and error lines of the service.

    All levels of the service count, and warnings of libraries, as in contactsvc/telemetry/logs.py. Texts of exceptions
    are ignored, since the formatters of the service omit them.
    """

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.leaks: list[str] = []
        self.faults: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        line = f"{record.name}: {record.getMessage()}"
        own = record.name.startswith("contactsvc")
        if (own or record.levelno >= logging.WARNING) and betrays(line):
            self.leaks.append(line)
        if own and record.levelno >= logging.ERROR:
            self.faults.append(line + (f" {record.exc_info[1]!r}" if record.exc_info else ""))

    def __enter__(self) -> WatchedLog:
        logger = logging.getLogger("contactsvc")
        self._level = logger.level
        logger.setLevel(logging.DEBUG)
        logging.getLogger().addHandler(self)
        return self

    def __exit__(self, *_: object) -> None:
        logging.getLogger().removeHandler(self)
        logging.getLogger("contactsvc").setLevel(self._level)

    def check(self) -> None:
        """Raise AssertionError if a forbidden line was logged since the last check."""
        leaks, self.leaks = self.leaks, []
        faults, self.faults = self.faults, []
        assert not leaks
        assert not faults


@dataclass(frozen=True)
class Answer:
    """The outcome of a call."""

    code: StatusCode
    message: str
    trailing: tuple[tuple[str, str | bytes], ...]
    responses: tuple[bytes, ...]

    @property
    def status(self) -> status_pb2.Status:
        details = dict(self.trailing).get("grpc-status-details-bin", b"")
        assert isinstance(details, bytes)
        return status_pb2.Status.FromString(details)

    @property
    def reason(self) -> str:
        info = error_details_pb2.ErrorInfo()
        for detail in self.status.details:
            detail.Unpack(info)
        return str(info.reason)


def path_of(method: MethodDescriptor) -> str:
    """Return the path of the method on a channel."""
    return f"/{method.containing_service.full_name}/{method.name}"


def call(channel: grpc.Channel, method: MethodDescriptor, raw: bytes) -> Answer:
    """Send bytes to a method and return the answer."""
    received: list[bytes] = []
    try:
        if method.server_streaming:
            stream: Any = channel.unary_stream(path_of(method))
            received.extend(stream(raw, timeout=DEADLINE))
        else:
            unary: Any = channel.unary_unary(path_of(method))
            received.append(unary(raw, timeout=DEADLINE))
    except grpc.RpcError as error:
        failed: Any = error
        return Answer(failed.code(), failed.details() or "", tuple(failed.trailing_metadata() or ()), tuple(received))
    return Answer(StatusCode.OK, "", (), tuple(received))


def check_answer(method: MethodDescriptor, answer: Answer) -> None:
    """Raise AssertionError unless the answer obeys the contract."""
    for raw in answer.responses:
        response = class_of(method.output_type).FromString(raw)
        assert len(raw) <= 4 * 1024 * 1024
        for result in getattr(response, "results", ()):
            if result.HasField("error"):
                check_batch_error(result.error)
        for record in records_in(response):
            check_record(record)
    if answer.code is not StatusCode.OK:
        check_failure(answer)


def check_failure(answer: Answer) -> None:
    """Raise AssertionError unless the error of a call obeys the contract."""
    shown = [answer.message, *(part for pair in answer.trailing for part in pair)]
    assert not any(map(betrays, shown))
    assert answer.code in REASONS, (answer.code, answer.message)
    status = answer.status
    assert (status.code, status.message) == (answer.code.value[0], answer.message)
    infos, requests = [], []
    for detail in status.details:
        info, bad_request = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
        if detail.Unpack(info):
            infos.append(info)
        if detail.Unpack(bad_request):
            requests.append(bad_request)
    assert [info.domain for info in infos] == ["contactsvc"]
    assert infos[0].reason in REASONS[answer.code]
    assert f"ERROR_REASON_{infos[0].reason}" in pb.ErrorReason.keys()  # noqa: SIM118 - no mapping
    if infos[0].reason == "INVALID_FIELD":
        assert len(requests) == 1
        assert requests[0].field_violations
        assert all(violation.field and violation.description for violation in requests[0].field_violations)


def check_batch_error(error: pb.BatchError) -> None:
    """Raise AssertionError unless the error of an item obeys the contract."""
    assert not betrays(error.SerializeToString())
    assert error.code in _BY_NUMBER
    assert error.reason in _BY_NUMBER[error.code]
    assert error.message
    if error.reason == "INVALID_FIELD":
        assert error.field_violations


def records_in(response: Any) -> Iterator[pb.ContactMethod]:
    """Yield the records of any response."""
    for field, value in response.ListFields():
        if field.message_type is None:
            continue
        for message in value if field.is_repeated else [value]:
            if isinstance(message, pb.ContactMethod):
                yield message
            elif hasattr(message, "contact_method") and message.HasField("contact_method"):
                yield message.contact_method


def check_record(record: pb.ContactMethod) -> None:
    """Raise AssertionError if a field of a record violates its rule."""
    assert _ID.fullmatch(record.id)
    assert _is_line(record.client_id, 128)
    assert record.type in _TYPES
    assert _is_line(record.value, 512)
    assert record.value == record.value.strip()
    assert record.normalized_value == ValueRules().normalize(_TYPES[record.type], record.value)
    assert not record.HasField("label") or _is_line(record.label, 100)
    assert not record.HasField("external_id") or _is_line(record.external_id, 255)
    assert len(record.metadata) <= 50
    assert all(_KEY.fullmatch(key) and 1 <= len(value) <= 500 for key, value in record.metadata.items())
    assert record.etag
    assert not record.is_verified
    assert not record.HasField("verified_at")
    times = [record.created_at.ToNanoseconds(), record.updated_at.ToNanoseconds()]
    assert times == sorted(times)
    assert all(time % 1_000_000 == 0 for time in times)


def check_together(records: Iterable[pb.ContactMethod]) -> None:
    """Raise AssertionError if an id, a primary slot or an external id occurs twice."""
    records = list(records)
    ids = Counter(record.id for record in records)
    primaries = Counter((record.client_id, record.type) for record in records if record.is_primary)
    external_ids = Counter(record.external_id for record in records if record.HasField("external_id"))
    for counted in (ids, primaries, external_ids):
        assert all(count == 1 for count in counted.values()), counted


def _is_line(text: str, at_most: int) -> bool:
    return 1 <= len(text) <= at_most and not any(unicodedata.category(character) == "Cc" for character in text)
