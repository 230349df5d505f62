"""Verification of contact methods: operations and results."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum

from contactsvc_stubs.v1 import contact_methods_pb2 as pb

from contactsvc_client._messages import message, timestamp
from contactsvc_client._operations import Operation
from contactsvc_client._records import TYPES, ContactMethod, ContactMethodType, from_proto


class VerificationResult(StrEnum):
    """The result of a check."""

    VERIFIED = "verified"
    WRONG_CODE = "wrong_code"


@dataclass(frozen=True, slots=True, kw_only=True)
class StartedVerification:
    """A running verification: the code, and where to send it.

    Attributes:
        code: six digits; None when a request is repeated after its challenge has ended. Not in the repr.
        value: the value to send it to, as stored.
        type: the type of the value.
        expires_at: the expiry of the code; None without a code.
        attempts_left: the number of wrong codes that are still accepted.
        sends_left: the number of sends that are left.
        contact_method: the contact method; None without the permission `read`.
    """

    code: str | None = field(repr=False)
    value: str
    type: ContactMethodType
    expires_at: datetime | None
    attempts_left: int
    sends_left: int
    contact_method: ContactMethod | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedVerification:
    """The outcome of a check.

    Attributes:
        result: whether the code was right.
        attempts_left: the number of wrong codes that are still accepted.
        contact_method: the contact method; for a key without the permission `read` only its id.
    """

    result: VerificationResult
    attempts_left: int
    contact_method: ContactMethod | None


def start(id_: str, etag: str | None, request_id: str | None) -> Operation[StartedVerification]:
    """Start the verification of a value."""
    fields = {"id": id_, "etag": etag, "request_id": request_id}
    request = message(pb.StartContactMethodVerificationRequest, "", fields)
    return Operation("StartContactMethodVerification", request, _started)


def check(id_: str, code: str, request_id: str | None) -> Operation[CheckedVerification]:
    """Check a code."""
    fields = {"id": id_, "code": code, "request_id": request_id}
    request = message(pb.CheckContactMethodVerificationRequest, "", fields)
    return Operation("CheckContactMethodVerification", request, _checked)


def set_(
    id_: str,
    *,
    verified: bool,
    value: str | None,
    verified_at: datetime | None,
    method: str | None,
    etag: str | None,
    request_id: str | None,
) -> Operation[ContactMethod]:
    """Set or clear a verification on the caller's word."""
    fields = {
        "id": id_,
        "verified": verified,
        "value": value,
        "verified_at": None if verified_at is None else timestamp("verified_at", verified_at),
        "method": method,
        "etag": etag,
        "request_id": request_id,
    }
    request = message(pb.SetContactMethodVerificationRequest, "", fields)
    return Operation("SetContactMethodVerification", request, lambda response: from_proto(response.contact_method))


def _started(response: pb.StartContactMethodVerificationResponse) -> StartedVerification:
    return StartedVerification(
        code=response.code or None,
        value=response.value,
        type=TYPES.get(response.type, ContactMethodType.OTHER),
        expires_at=response.expires_at.ToDatetime(UTC) if response.HasField("expires_at") else None,
        attempts_left=response.attempts_left,
        sends_left=response.sends_left,
        contact_method=from_proto(response.contact_method) if response.HasField("contact_method") else None,
    )


def _checked(response: pb.CheckContactMethodVerificationResponse) -> CheckedVerification:
    right = response.result == pb.VERIFICATION_RESULT_VERIFIED
    return CheckedVerification(
        result=VerificationResult.VERIFIED if right else VerificationResult.WRONG_CODE,
        attempts_left=response.attempts_left,
        contact_method=from_proto(response.contact_method) if response.HasField("contact_method") else None,
    )
