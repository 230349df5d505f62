"""Many at once, on one service and on several: no code beyond five is answered, and no cap is passed."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable
from typing import Any

import pytest

from contactsvc.domain import verifying
from contactsvc.v1 import contact_methods_pb2 as pb
from tests.conftest import failure_in, failure_of
from tests.hostile.replicas import replicas, store_of
from tests.verifier import NUMBER, PHONE, VERIFIED, WRONG_CODE, Verifier, other_than


async def outcomes_of(calls: Any) -> tuple[list[Any], list[str]]:
    """Make calls at once; return the answers, and the reasons of those that failed."""
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    answers = [outcome for outcome in outcomes if not isinstance(outcome, BaseException)]
    return answers, [failure_in(outcome).reason for outcome in outcomes if isinstance(outcome, BaseException)]


async def guess(verifiers: list[Verifier], record: pb.ContactMethod, code: str) -> list[int]:
    """Check twenty wrong codes at once, with updates of the record between; return the answered attempts_left."""
    services = itertools.cycle(verifiers)
    checks: list[Awaitable[Any]] = []
    for number in range(20):
        checks.append(next(services).check(record, f"{(int(code) + 1 + number) % 1_000_000:06}"))
        if number % 4 == 0:
            checks.append(next(services).update(record, label=f"{number}"))
    answers, reasons = await outcomes_of(checks)
    checked = [answer for answer in answers if isinstance(answer, pb.CheckContactMethodVerificationResponse)]
    assert {answer.result for answer in checked} == {WRONG_CODE}
    assert set(reasons) <= {"VERIFICATION_EXHAUSTED", "ETAG_MISMATCH"}
    return sorted((answer.attempts_left for answer in checked), reverse=True)


@pytest.mark.parametrize("count", [4, pytest.param(50, marks=pytest.mark.long)])
async def test_of_twenty_wrong_codes_at_once_five_are_compared(
    embedded_uri: str, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    compared = 0

    def counted(one: str, other: str) -> bool:
        nonlocal compared
        compared += 1
        return one == other

    monkeypatch.setattr(verifying, "same_code", counted)
    async with replicas(embedded_uri, 1) as [verifier]:
        for number in range(count):
            record = await verifier.api.create(client_id=f"client_{number}")
            code = (await verifier.start(record)).code

            assert await guess([verifier], record, code) == [4, 3, 2, 1, 0]

            assert (await failure_of(verifier.check(record, code))).reason == "VERIFICATION_EXHAUSTED"
    assert compared == 5 * count


@pytest.mark.parametrize("count", [3, pytest.param(50, marks=pytest.mark.long)])
async def test_several_services_answer_five_wrong_codes_together(embedded_uri: str, count: int) -> None:
    async with replicas(embedded_uri) as verifiers:
        for number in range(count):
            record = await verifiers[0].api.create(client_id=f"client_{number}")
            code = (await verifiers[0].start(record)).code

            assert await guess(verifiers, record, code) == [4, 3, 2, 1, 0]

            for verifier in verifiers:
                assert (await failure_of(verifier.check(record, code))).reason == "VERIFICATION_EXHAUSTED"
            assert not (await verifiers[0].api.get(record.id)).is_verified


async def test_a_wrong_code_that_another_service_overtakes_is_counted_too(embedded_uri: str) -> None:
    async with replicas(embedded_uri) as [slow, fast]:
        record = await slow.api.create()
        code = (await slow.start(record)).code
        store_of(slow).hold_next()
        overtaken = asyncio.create_task(slow.check(record, other_than(code)))
        await store_of(slow).reached.wait()

        first = await fast.check(record, other_than(code))
        release(slow)

        assert (first.attempts_left, (await overtaken).attempts_left) == (4, 3)


async def test_a_start_that_another_service_overtakes_sends_the_code_of_that_one(embedded_uri: str) -> None:
    async with replicas(embedded_uri) as [slow, fast]:
        record = await slow.api.create()
        store_of(slow).hold_next()
        overtaken = asyncio.create_task(slow.start(record))
        await store_of(slow).reached.wait()

        first = await fast.start(record)
        release(slow)
        second = await overtaken

        assert (second.code, first.sends_left, second.sends_left) == (first.code, 4, 3)
        assert (await slow.check(record, second.code)).result == VERIFIED


async def test_a_check_that_a_new_challenge_overtakes_is_compared_with_the_new_one(embedded_uri: str) -> None:
    async with replicas(embedded_uri) as [slow, fast]:
        record = await slow.api.create()
        code = (await slow.start(record)).code
        store_of(slow).hold_next()
        overtaken = asyncio.create_task(slow.check(record, code))
        await store_of(slow).reached.wait()

        # Neither changes the etag of the record.
        await fast.set(record, False)
        new = await fast.start(record)
        release(slow)

        assert ((await overtaken).result, new.code != code) == (WRONG_CODE, True)
        assert not (await fast.api.get(record.id)).is_verified
        assert (await fast.check(record, new.code)).result == VERIFIED


async def test_a_cleared_verification_that_a_wrong_code_overtakes_is_cleared(embedded_uri: str) -> None:
    async with replicas(embedded_uri) as [slow, fast]:
        record = await slow.api.create()
        code = (await slow.start(record)).code
        store_of(slow).hold_next()
        overtaken = asyncio.create_task(slow.set(record, False))
        await store_of(slow).reached.wait()

        await fast.check(record, other_than(code))
        release(slow)

        assert await overtaken == record
        assert (await failure_of(fast.check(record, code))).reason == "VERIFICATION_NOT_STARTED"


async def test_ten_right_codes_at_once_on_several_services_verify_once(embedded_uri: str) -> None:
    async with replicas(embedded_uri) as verifiers:
        record = await verifiers[0].api.create()
        code = (await verifiers[0].start(record)).code

        answers, reasons = await outcomes_of(verifiers[i % 2].check(record, code) for i in range(10))

        # One that keeps losing races may have to be repeated.
        assert set(reasons) <= {"ETAG_MISMATCH"}
        assert {(answer.result, answer.attempts_left) for answer in answers} == {(VERIFIED, 5)}
        assert len({answer.contact_method.etag for answer in answers}) == 1


async def test_a_right_code_never_verifies_a_new_value(embedded_uri: str) -> None:
    async with replicas(embedded_uri) as [one, other]:
        for number in range(8):
            record = await one.api.create(value=f"{number}@old.example.com", client_id=f"client_{number}")
            code = (await one.start(record)).code

            calls: list[Awaitable[Any]] = [
                one.check(record, code),
                other.update(record, value=f"{number}@new.example.com"),
            ]
            if number % 2:
                calls.reverse()

            answers, reasons = await outcomes_of(calls)

            checked = [answer for answer in answers if isinstance(answer, pb.CheckContactMethodVerificationResponse)]
            assert {(answer.result, answer.contact_method.value) for answer in checked} <= {(VERIFIED, record.value)}
            assert set(reasons) <= {"VERIFICATION_NOT_STARTED"}
            changed = await one.api.get(record.id)
            assert (changed.value, changed.is_verified) == (f"{number}@new.example.com", False)


async def test_of_twenty_starts_at_once_five_send_one_code(embedded_uri: str) -> None:
    async with replicas(embedded_uri) as verifiers:
        record = await verifiers[0].api.create()

        answers, reasons = await outcomes_of(verifiers[i % 2].start(record) for i in range(20))

        assert len({answer.code for answer in answers}) == 1
        assert sorted(answer.sends_left for answer in answers) == [0, 1, 2, 3, 4]
        assert set(reasons) <= {"VERIFICATION_LIMIT", "ETAG_MISMATCH"}
        # Those that were refused are not counted: the value has five sends left today, after the challenge.
        verifiers[0].clock.forward(minutes=30)
        for _ in range(5):
            await verifiers[0].start(record)
        verifiers[0].clock.forward(minutes=30)
        limited = await failure_of(verifiers[0].start(record))
        assert (limited.reason, limited.metadata) == ("VERIFICATION_LIMIT", {"limit": "value_day"})


async def test_fifty_starts_at_once_on_several_services_keep_the_caps(embedded_uri: str) -> None:
    async with replicas(embedded_uri) as verifiers:
        api = verifiers[0].api
        same = [await api.create(value=NUMBER, type=PHONE, client_id=f"client_{i}") for i in range(50)]
        many = [await api.create(client_id="busy") for _ in range(50)]

        for records, cap in ((same, 10), (many, 20)):
            answers, reasons = await outcomes_of(verifiers[i % 2].start(record) for i, record in enumerate(records))
            assert (len(answers), set(reasons)) == (cap, {"VERIFICATION_LIMIT"})


async def test_a_client_without_sends_uses_up_none_of_a_value(embedded_uri: str) -> None:
    async with replicas(embedded_uri, 1) as [verifier]:
        for _ in range(20):
            await verifier.start(await verifier.api.create(client_id="busy"))
        record = await verifier.api.create(client_id="busy", value=NUMBER, type=PHONE)

        for _ in range(12):
            refused = await failure_of(verifier.start(record))
            assert refused.metadata == {"limit": "client_day"}

        other = await verifier.api.create(client_id="other", value=NUMBER, type=PHONE)
        assert (await verifier.start(other)).code


async def test_a_value_without_sends_uses_up_none_of_a_client(embedded_uri: str) -> None:
    async with replicas(embedded_uri, 1) as [verifier]:
        for number in range(10):
            same = await verifier.api.create(client_id=f"client_{number}", value=NUMBER, type=PHONE)
            await verifier.start(same)
        record = await verifier.api.create(client_id="other", value=NUMBER, type=PHONE)

        for _ in range(22):
            refused = await failure_of(verifier.start(record))
            assert refused.metadata == {"limit": "value_day"}

        assert (await verifier.start(await verifier.api.create(client_id="other"))).code


def release(verifier: Verifier) -> None:
    released = store_of(verifier).released
    assert released is not None
    released.set()
