"""kill -9 of the service or of its database around checks: each is counted or not, and never half."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest

from contactsvc.v1 import contact_methods_pb2 as pb
from contactsvc.v1 import contact_methods_pb2_grpc as pb_grpc
from tests.integration.service_process import ServiceProcess, running_service
from tests.robustness.faults import processes
from tests.verifier import VERIFIED, WRONG_CODE, other_than

RECORDS = 24
# Checks that are answered before the kill.
ANSWERED = 6


@asynccontextmanager
async def called(directory: Path) -> AsyncIterator[tuple[ServiceProcess, Any]]:
    async with running_service(directory) as service, grpc.aio.insecure_channel(service.address) as channel:
        yield service, pb_grpc.ContactMethodsServiceStub(channel)  # type: ignore[no-untyped-call]


def check(stub: Any, id_: str, code: str, request_id: str = "") -> Any:
    request = pb.CheckContactMethodVerificationRequest(id=id_, code=code, request_id=request_id)
    return stub.CheckContactMethodVerification(request)


async def started(stub: Any, number: int) -> tuple[pb.ContactMethod, str]:
    create = pb.CreateContactMethodRequest(client_id=f"c{number}", type=pb.CONTACT_METHOD_TYPE_OTHER, value=f"{number}")
    record = (await stub.CreateContactMethod(create)).contact_method
    answer = await stub.StartContactMethodVerification(pb.StartContactMethodVerificationRequest(id=record.id))
    return record, answer.code


@pytest.mark.parametrize("killed", ["service", "database"])
async def test_a_check_is_counted_or_not(tmp_path: Path, killed: str) -> None:
    async with called(tmp_path) as (service, stub):
        records = [await started(stub, number) for number in range(RECORDS)]
        # Wrong for even records, right for odd ones.
        codes = [code if number % 2 else other_than(code) for number, (_, code) in enumerate(records)]
        (database,) = processes.with_argument(str(tmp_path / "database"))
        checks = [
            asyncio.ensure_future(check(stub, record.id, code, f"r-{record.id}"))
            for (record, _), code in zip(records, codes, strict=True)
        ]
        for answered in itertools.islice(asyncio.as_completed(checks), ANSWERED):
            await answered
        # The kill meets the others wherever they are.
        os.kill(database if killed == "database" else service.process.pid, signal.SIGKILL)
        outcomes = await asyncio.gather(*checks, return_exceptions=True)
        await service.process.communicate()

    async with called(tmp_path) as (_, stub):
        for (record, code), given, outcome in zip(records, codes, outcomes, strict=True):
            found = (await stub.GetContactMethod(pb.GetContactMethodRequest(id=record.id))).contact_method
            if found != record:
                assert given == code
                assert (found.is_verified, found.verification_method) == (True, "code")
                assert found.verified_at == found.updated_at
            repeated = await check(stub, record.id, given, f"r-{record.id}")
            assert repeated.result == (VERIFIED if given == code else WRONG_CODE)
            assert repeated.attempts_left == (5 if given == code else 4)
            if not isinstance(outcome, BaseException):
                # What was answered is kept.
                assert (outcome.result, outcome.attempts_left) == (repeated.result, repeated.attempts_left)
                assert found.is_verified is (given == code)
            # The repetition was counted once, whether or not the first time was.
            again = await check(stub, record.id, other_than(code))
            assert again.attempts_left == repeated.attempts_left - 1
            right = await check(stub, record.id, code)
            assert (right.result, right.contact_method.is_verified) == (VERIFIED, True)
    assert sum(not isinstance(outcome, BaseException) for outcome in outcomes) >= ANSWERED
