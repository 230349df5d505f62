"""Verifications over the wire: calls about single records, a clock that tests move, and wrong codes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from google.rpc import error_details_pb2, status_pb2

from contactsvc.v1 import contact_methods_pb2 as pb
from tests.conftest import Api

PHONE = pb.CONTACT_METHOD_TYPE_PHONE
VERIFIED, WRONG_CODE = pb.VERIFICATION_RESULT_VERIFIED, pb.VERIFICATION_RESULT_WRONG_CODE
NUMBER = "+52 55 5000 0142"


class Clock:
    """A clock that only tests move."""

    def __init__(self) -> None:
        self.now = datetime(2026, 11, 27, 12, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def forward(self, **time: float) -> None:
        """Move the clock; by the arguments of a timedelta."""
        self.now += timedelta(**time)


class Verifier:
    """Calls of one server about one record."""

    def __init__(self, api: Api, clock: Clock) -> None:
        self.api = api
        self.clock = clock

    async def start(self, record: pb.ContactMethod, **fields: Any) -> pb.StartContactMethodVerificationResponse:
        """Start a challenge, or send its code again."""
        request = pb.StartContactMethodVerificationRequest(id=record.id, **fields)
        response = await self.api.stub.StartContactMethodVerification(request)
        assert isinstance(response, pb.StartContactMethodVerificationResponse)
        return response

    async def check(
        self, record: pb.ContactMethod, code: str, **fields: Any
    ) -> pb.CheckContactMethodVerificationResponse:
        """Check a code."""
        request = pb.CheckContactMethodVerificationRequest(id=record.id, code=code, **fields)
        response = await self.api.stub.CheckContactMethodVerification(request)
        assert isinstance(response, pb.CheckContactMethodVerificationResponse)
        return response

    async def set(self, record: pb.ContactMethod, verified: bool, **fields: Any) -> pb.ContactMethod:
        """Set or clear the verification."""
        request = pb.SetContactMethodVerificationRequest(id=record.id, verified=verified, **fields)
        response: pb.SetContactMethodVerificationResponse = await self.api.stub.SetContactMethodVerification(request)
        return response.contact_method

    async def update(self, record: pb.ContactMethod, **fields: Any) -> pb.ContactMethod:
        """Update the record."""
        response = await self.api.stub.UpdateContactMethod(pb.UpdateContactMethodRequest(id=record.id, **fields))
        updated: pb.ContactMethod = response.contact_method
        return updated


def other_than(code: str) -> str:
    """Return a wrong code."""
    return f"{(int(code) + 1) % 1_000_000:06}"


async def retry_after(call: Any) -> tuple[str, float]:
    """Return the limit that a call has met, and after how many seconds it may be repeated."""
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await call
    details: Any = dict(refused.value.trailing_metadata() or ())["grpc-status-details-bin"]
    info, retry = error_details_pb2.ErrorInfo(), error_details_pb2.RetryInfo()
    for detail in status_pb2.Status.FromString(details).details:
        detail.Unpack(info)
        detail.Unpack(retry)
    assert (refused.value.code(), info.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "VERIFICATION_LIMIT")
    return info.metadata["limit"], retry.retry_delay.ToTimedelta().total_seconds()


def timestamp(time: datetime) -> Timestamp:
    """Return the message of a time."""
    made = Timestamp()
    made.FromDatetime(time)
    return made
