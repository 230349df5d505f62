"""The table of cases of the contract, chapter Verification, over the wire."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import grpc
import pytest

from contactsvc.domain.normalization import ValueRules
from contactsvc.v1 import contact_methods_pb2 as pb
from tests.conftest import OpenStores, failure_of, serving
from tests.verifier import NUMBER, PHONE, VERIFIED, WRONG_CODE, Clock, Verifier, other_than, retry_after, timestamp


@pytest.fixture
async def verifier(open_stores: OpenStores) -> AsyncIterator[Verifier]:
    clock = Clock()
    async with serving(await open_stores(), clock=clock) as api:
        yield Verifier(api, clock)


async def test_three_calls_verify_a_number(verifier: Verifier) -> None:
    record = await verifier.api.create(value=NUMBER, type=PHONE)

    started = await verifier.start(record)
    verifier.clock.forward(minutes=1)
    checked = await verifier.check(record, started.code)
    found = await verifier.api.get(record.id)

    assert len(started.code) == 6
    assert started.code.isdecimal()
    assert (started.value, started.type) == (NUMBER, PHONE)
    assert started.expires_at.ToDatetime(UTC) == verifier.clock.now + timedelta(minutes=9)
    assert (started.attempts_left, started.sends_left) == (5, 4)
    assert started.contact_method == record
    assert (checked.result, checked.attempts_left) == (VERIFIED, 5)
    assert checked.contact_method == found
    assert (found.is_verified, found.verification_method) == (True, "code")
    assert found.verified_at.ToDatetime(UTC) == found.updated_at.ToDatetime(UTC) == verifier.clock.now
    assert found.etag != record.etag


async def test_a_challenge_does_not_change_the_record(verifier: Verifier) -> None:
    record = await verifier.api.create()
    started = await verifier.start(record)
    await verifier.check(record, other_than(started.code))

    assert await verifier.api.get(record.id) == record


async def test_a_start_while_a_challenge_lives_sends_its_code_again(verifier: Verifier) -> None:
    record = await verifier.api.create()
    sends = []
    for _ in range(5):
        sends.append(await verifier.start(record))
        verifier.clock.forward(minutes=6)
        await verifier.check(record, other_than(sends[0].code)) if len(sends) == 1 else None
    verifier.clock.forward(minutes=-6)

    assert {send.code for send in sends} == {sends[0].code}
    assert [send.sends_left for send in sends] == [4, 3, 2, 1, 0]
    assert [send.attempts_left for send in sends] == [5, 4, 4, 4, 4]
    # Ten minutes from the last send, but thirty from the first.
    first = sends[0].expires_at.ToDatetime(UTC) - timedelta(minutes=10)
    minutes = [(send.expires_at.ToDatetime(UTC) - first).total_seconds() / 60 for send in sends]
    assert minutes == [10, 16, 22, 28, 30]
    assert await retry_after(verifier.start(record)) == ("sends", 6 * 60)
    assert (await verifier.check(record, sends[0].code)).result == VERIFIED


async def test_a_start_after_the_end_of_a_challenge_has_a_new_code_and_new_tries(verifier: Verifier) -> None:
    record = await verifier.api.create()
    first = await verifier.start(record)
    await verifier.check(record, other_than(first.code))
    verifier.clock.forward(minutes=10)
    expired = await failure_of(verifier.check(record, first.code))
    second = await verifier.start(record)

    assert (expired.code, expired.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "VERIFICATION_NOT_STARTED")
    assert second.code != first.code
    assert (second.attempts_left, second.sends_left) == (5, 4)
    assert (await verifier.check(record, first.code)).result == WRONG_CODE


async def test_after_five_wrong_codes_nothing_is_compared(verifier: Verifier) -> None:
    record = await verifier.api.create()
    code = (await verifier.start(record)).code
    tries = [await verifier.check(record, other_than(code)) for _ in range(5)]
    spent = await failure_of(verifier.check(record, code))
    again = await verifier.start(record)

    assert {answer.result for answer in tries} == {WRONG_CODE}
    assert [answer.attempts_left for answer in tries] == [4, 3, 2, 1, 0]
    assert (spent.code, spent.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "VERIFICATION_EXHAUSTED")
    assert again.code != code
    assert (await verifier.check(record, again.code)).result == VERIFIED


async def test_the_right_code_stays_right_until_it_expires(verifier: Verifier) -> None:
    record = await verifier.api.create()
    code = (await verifier.start(record)).code
    await verifier.check(record, code)
    verified = await verifier.api.get(record.id)
    verifier.clock.forward(minutes=9)

    assert (await verifier.check(record, code)).result == VERIFIED
    wrong = await verifier.check(record, other_than(code))
    assert (wrong.result, wrong.attempts_left) == (WRONG_CODE, 4)
    assert (await verifier.check(record, code)).result == VERIFIED
    assert await verifier.api.get(record.id) == verified
    verifier.clock.forward(minutes=1)
    assert (await failure_of(verifier.check(record, code))).reason == "VERIFICATION_NOT_STARTED"


async def test_a_start_on_a_verified_value_keeps_it_until_a_new_success(verifier: Verifier) -> None:
    record = await verifier.api.create()
    await verifier.check(record, (await verifier.start(record)).code)
    verifier.clock.forward(hours=1)
    before = await verifier.api.get(record.id)
    started = await verifier.start(record)
    await verifier.check(record, other_than(started.code))
    kept = await verifier.api.get(record.id)
    renewed = (await verifier.check(record, started.code)).contact_method

    assert kept == before
    assert renewed.verified_at.ToDatetime(UTC) == verifier.clock.now


@pytest.mark.parametrize(
    "change", [{"value": "+52 55 5000 0143"}, {"type": pb.CONTACT_METHOD_TYPE_FAX}], ids=["value", "type"]
)
async def test_a_new_value_or_type_voids_verification_and_challenge(verifier: Verifier, change: dict[str, Any]) -> None:
    record = await verifier.api.create(value=NUMBER, type=PHONE)
    code = (await verifier.start(record)).code
    await verifier.check(record, code)
    changed = await verifier.update(record, **change)
    gone = await failure_of(verifier.check(record, code))
    back = await verifier.update(record, value=NUMBER, type=PHONE)

    assert not changed.is_verified
    assert not changed.HasField("verified_at")
    assert not changed.HasField("verification_method")
    assert gone.reason == "VERIFICATION_NOT_STARTED"
    assert not back.is_verified
    assert (await failure_of(verifier.check(record, code))).reason == "VERIFICATION_NOT_STARTED"
    assert (await verifier.start(record)).code != code


async def test_formatting_case_label_and_promotion_keep_verification_and_challenge(verifier: Verifier) -> None:
    record = await verifier.api.create(value="juan@example.com")
    code = (await verifier.start(record)).code
    await verifier.update(record, value="Juan@Example.com", label="Work")
    checked = await verifier.check(record, code)
    promoted = await verifier.update(record, is_primary=True)
    await verifier.api.create(value="other@example.com", is_primary=True)
    demoted = await verifier.api.get(record.id)

    assert checked.result == VERIFIED
    assert (promoted.is_verified, promoted.is_primary) == (True, True)
    assert (demoted.is_verified, demoted.verification_method, demoted.is_primary) == (True, "code", False)


async def test_set_verifies_on_the_word_of_the_caller(verifier: Verifier) -> None:
    record = await verifier.api.create(value=NUMBER, type=PHONE)
    code = (await verifier.start(record)).code
    now = verifier.clock.now
    attested = await verifier.set(record, True)
    again = await verifier.set(record, True)
    verifier.clock.forward(days=1)
    still = await verifier.set(record, True, value="+525550000142")
    named = await verifier.set(record, True, method="letter")
    dated = await verifier.set(record, True, verified_at=timestamp(datetime(2020, 1, 1, tzinfo=UTC)))
    same = await verifier.set(record, True, verified_at=timestamp(datetime(2020, 1, 1, tzinfo=UTC)), method="letter")
    cleared = await verifier.set(record, False)
    once_more = await verifier.set(record, False)

    assert (attested.verification_method, attested.verified_at.ToDatetime(UTC)) == ("attested", now)
    assert attested == again == still
    assert (named.verification_method, named.verified_at) == ("letter", attested.verified_at)
    assert (dated.verification_method, dated.verified_at.ToDatetime(UTC).year) == ("letter", 2020)
    assert same == dated
    assert not cleared.is_verified
    assert cleared == once_more
    assert (await failure_of(verifier.check(record, code))).reason == "VERIFICATION_NOT_STARTED"


async def test_set_false_voids_a_running_challenge(verifier: Verifier) -> None:
    record = await verifier.api.create()
    code = (await verifier.start(record)).code

    assert await verifier.set(record, False) == record
    assert (await failure_of(verifier.check(record, code))).reason == "VERIFICATION_NOT_STARTED"


async def test_set_with_another_value_is_refused(verifier: Verifier) -> None:
    record = await verifier.api.create(value=NUMBER, type=PHONE)
    for value in ("+52 55 5000 0143", "nothing"):
        refused = await failure_of(verifier.set(record, True, value=value))
        assert (refused.code, refused.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "VALUE_CHANGED")
    assert await verifier.api.get(record.id) == record


async def test_bad_input_is_refused_and_takes_no_try(verifier: Verifier) -> None:
    record = await verifier.api.create()
    code = (await verifier.start(record)).code
    for bad in ("", "12345", "1234567", "12345a", "١٢٣٤٥", "1.2.3.4.5.6"):
        refused = await failure_of(verifier.check(record, bad))
        assert (refused.code, refused.fields) == (grpc.StatusCode.INVALID_ARGUMENT, ["code"]), bad
    fullwidth = "".join(chr(0xFF10 + int(digit)) for digit in code)
    right = await verifier.check(record, f" {fullwidth[:3]} {fullwidth[3:]}\u200b")
    future = await failure_of(
        verifier.set(record, True, verified_at=timestamp(verifier.clock.now + timedelta(seconds=1)))
    )
    long = await failure_of(verifier.set(record, True, method="x" * 51))

    assert (right.result, right.attempts_left) == (VERIFIED, 5)
    assert future.fields == ["verified_at"]
    assert long.fields == ["method"]
    unknown = pb.ContactMethod(id="contact_unknown")
    for call in (verifier.start(unknown), verifier.check(unknown, "123456"), verifier.set(unknown, True)):
        assert (await failure_of(call)).reason == "CONTACT_METHOD_NOT_FOUND"


async def test_an_unparsed_value_cannot_be_verified_by_code(open_stores: OpenStores) -> None:
    async with serving(await open_stores(), ValueRules(lenient=True)) as api:
        record = await api.create(value="+49 171 1234567 (Eva)", type=PHONE)
        refused = await failure_of(Verifier(api, Clock()).start(record))

    assert (refused.code, refused.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "INVALID_FIELD")
    assert refused.fields == ["value"]


async def test_an_etag_of_another_state_is_refused(verifier: Verifier) -> None:
    record = await verifier.api.create()
    await verifier.update(record, label="Work")

    for call in (verifier.start(record, etag=record.etag), verifier.set(record, True, etag=record.etag)):
        assert (await failure_of(call)).reason == "ETAG_MISMATCH"


async def test_a_value_has_ten_sends_a_day_and_a_client_twenty(verifier: Verifier) -> None:
    same = [await verifier.api.create(value=NUMBER, type=PHONE, client_id=f"client_{i}") for i in range(11)]
    for record in same[:10]:
        await verifier.start(record)
    limit, seconds = await retry_after(verifier.start(same[10]))
    assert (limit, seconds) == ("value_day", 12 * 3600)
    many = [await verifier.api.create(client_id="busy") for _ in range(21)]
    for record in many[:20]:
        await verifier.start(record)
    assert await retry_after(verifier.start(many[20])) == ("client_day", 12 * 3600)
    verifier.clock.forward(hours=12)

    assert (await verifier.start(same[10])).code
    assert (await verifier.start(many[20])).code


async def test_fifty_starts_at_once_keep_the_cap(verifier: Verifier) -> None:
    records = [await verifier.api.create(value=NUMBER, type=PHONE, client_id=f"client_{i}") for i in range(50)]

    outcomes = await asyncio.gather(*(verifier.start(record) for record in records), return_exceptions=True)

    assert sum(not isinstance(outcome, BaseException) for outcome in outcomes) == 10


async def test_of_twenty_wrong_codes_at_once_five_are_answered(verifier: Verifier) -> None:
    record = await verifier.api.create()
    code = (await verifier.start(record)).code

    async def relabel(number: int) -> None:
        await verifier.update(record, label=f"{number}")

    checks = [verifier.check(record, other_than(code)) for _ in range(20)]
    outcomes = await asyncio.gather(*checks, *map(relabel, range(10)), return_exceptions=True)
    answers = [outcome for outcome in outcomes if isinstance(outcome, pb.CheckContactMethodVerificationResponse)]

    assert sorted(answer.attempts_left for answer in answers) == [0, 1, 2, 3, 4]
    assert (await failure_of(verifier.check(record, code))).reason == "VERIFICATION_EXHAUSTED"


async def test_ten_right_codes_at_once_verify_once(verifier: Verifier) -> None:
    record = await verifier.api.create()
    code = (await verifier.start(record)).code

    answers = await asyncio.gather(*(verifier.check(record, code) for _ in range(10)))

    assert {answer.result for answer in answers} == {VERIFIED}
    assert len({answer.contact_method.etag for answer in answers}) == 1


@pytest.mark.needs_transactions
async def test_repeated_requests_answer_as_before(verifier: Verifier) -> None:
    record = await verifier.api.create()
    started = await verifier.start(record, request_id="start")
    repeated = await verifier.start(record, request_id="start")
    wrong = [await verifier.check(record, other_than(started.code), request_id="wrong") for _ in range(3)]
    right = [await verifier.check(record, started.code, request_id="right") for _ in range(2)]
    reused = await failure_of(verifier.check(record, other_than(started.code), request_id="right"))
    verifier.clock.forward(minutes=30)
    over = await verifier.start(record, request_id="start")
    still_wrong = await verifier.check(record, other_than(started.code), request_id="wrong")

    assert repeated == started
    assert [(answer.result, answer.attempts_left) for answer in wrong] == [(WRONG_CODE, 4)] * 3
    assert [(answer.result, answer.attempts_left) for answer in right] == [(VERIFIED, 4)] * 2
    assert reused.reason == "REQUEST_ID_REUSED"
    assert (over.code, over.value) == ("", record.value)
    assert (still_wrong.result, still_wrong.attempts_left) == (WRONG_CODE, 4)


async def test_an_erased_client_starts_its_day_anew(verifier: Verifier) -> None:
    for _ in range(2):
        records = [await verifier.api.create(client_id="busy") for _ in range(20)]
        for record in records:
            await verifier.start(record)
        await verifier.api.stub.EraseClientContactMethods(pb.EraseClientContactMethodsRequest(client_id="busy"))
