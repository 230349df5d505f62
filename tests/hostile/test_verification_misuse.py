"""Verification asked for wrongly: repeated, by other keys, of other states, with other characters."""

from __future__ import annotations

import unicodedata
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import grpc
import pytest

from contactsvc.domain.kinds import Environment
from contactsvc.domain.normalization import ValueRules
from contactsvc.domain.verification import VerificationSecrets, new_secret
from contactsvc.v1 import contact_methods_pb2 as pb
from tests.conftest import OpenStores, failure_of, serving
from tests.operations.guarded import Guarded, guarded
from tests.verifier import (
    NUMBER,
    PHONE,
    VERIFIED,
    WRONG_CODE,
    Clock,
    Verifier,
    other_than,
    retry_after,
    timestamp,
)


class Rotating:
    """Secrets that tests rotate."""

    def __init__(self) -> None:
        self.secrets = VerificationSecrets.of(new_secret())

    def __call__(self) -> VerificationSecrets:
        return self.secrets

    def rotate(self) -> None:
        """Derive new codes by a new secret; keep the present one."""
        self.secrets = VerificationSecrets.of(new_secret(), self.secrets.current)

    def retire(self) -> None:
        """Forget all secrets but the current one."""
        self.secrets = VerificationSecrets.of(self.secrets.current)


@pytest.fixture
def secrets() -> Rotating:
    return Rotating()


@pytest.fixture
async def verifier(on_embedded: OpenStores, secrets: Rotating) -> AsyncIterator[Verifier]:
    clock = Clock()
    async with serving(await on_embedded(), clock=clock, secrets=dict.fromkeys(Environment, secrets)) as api:
        yield Verifier(api, clock)


@pytest.fixture
async def server(on_embedded: OpenStores) -> AsyncIterator[Guarded]:
    async with guarded(on_embedded) as made:
        yield made


async def keyed(server: Guarded, *permissions: str) -> Verifier:
    """Return calls by a key of its own."""
    return Verifier(replace(server.api, stub=await server.stub_with(*permissions)), Clock())


@pytest.mark.parametrize("zero", ["0", "\uff10", "\u0660", "\u0966", "\u1040", "\U0001d7ce"])
@pytest.mark.parametrize("form", ["{}{}{}{}{}{}", " {}{}{}\u00a0{}{}{}\n", "\u200b{} {} {} {} {} {}\ufeff"])
async def test_digits_of_any_script_with_blanks_are_the_code(verifier: Verifier, zero: str, form: str) -> None:
    record = await verifier.api.create()
    code = (await verifier.start(record)).code

    answer = await verifier.check(record, form.format(*(chr(ord(zero) + int(digit)) for digit in code)))

    assert (answer.result, answer.attempts_left) == (VERIFIED, 5)


async def test_what_is_no_code_takes_no_try(verifier: Verifier) -> None:
    record = await verifier.api.create()
    code = (await verifier.start(record)).code
    superscript = "".join(unicodedata.lookup(f"SUPERSCRIPT {name}") for name in ("ONE", "TWO", "THREE")) * 2
    circled = "".join(chr(0x2460 + number) for number in range(6))
    for bad in (
        *("", " ", code[:5], f"{code}0", f"+{code}", f"-{code}", f"{code}.0", f"{code[:3]}-{code[3:]}", f"'{code}'"),
        *(superscript, circled, "ⅠⅡⅢⅣⅤⅥ", "一二三四五六", "O1l234", f"{code}\0", f"{code[:5]}\u20e3", "1e5000"),
        *(code + " " * 95, " " * 101, f'{{"$ne": "{code}"}}', "0x1e240", "123_456"),
    ):
        refused = await failure_of(verifier.check(record, bad))
        assert (refused.code, refused.fields) == (grpc.StatusCode.INVALID_ARGUMENT, ["code"]), repr(bad)
        assert code not in refused.message

    assert (await verifier.check(record, other_than(code))).attempts_left == 4


async def test_a_time_in_the_future_is_refused_and_the_present_is_not(verifier: Verifier) -> None:
    record = await verifier.api.create()
    now = verifier.clock.now

    for ahead in (timedelta(milliseconds=1), timedelta(days=1), timedelta(days=300_000)):
        refused = await failure_of(verifier.set(record, True, verified_at=timestamp(now + ahead)))
        assert (refused.reason, refused.fields) == ("INVALID_FIELD", ["verified_at"])
    assert await verifier.api.get(record.id) == record
    assert (await verifier.set(record, True, verified_at=timestamp(now))).is_verified


async def test_a_code_is_of_one_record_alone(verifier: Verifier) -> None:
    """Also where another record has the same client and value."""
    records = [await verifier.api.create(client_id="c", value=NUMBER, type=PHONE) for _ in range(2)]
    codes = [(await verifier.start(record)).code for record in records]

    assert codes[0] != codes[1]
    assert (await verifier.check(records[1], codes[0])).result == WRONG_CODE


async def test_a_request_id_with_another_code_is_refused_and_takes_no_try(verifier: Verifier) -> None:
    record = await verifier.api.create()
    code = (await verifier.start(record)).code
    first = await verifier.check(record, other_than(code), request_id="r")

    for _ in range(10):
        assert (await failure_of(verifier.check(record, code, request_id="r"))).reason == "REQUEST_ID_REUSED"
        assert await verifier.check(record, other_than(code), request_id="r") == first
    other = await failure_of(verifier.set(record, True, request_id="r"))

    assert other.reason == "REQUEST_ID_REUSED"
    assert not (await verifier.api.get(record.id)).is_verified
    assert (await verifier.check(record, other_than(code))).attempts_left == 3


async def test_a_repeated_start_sends_nothing_new(verifier: Verifier) -> None:
    """However many requests have been remembered in between, and after the tries are spent."""
    record = await verifier.api.create()
    first = await verifier.start(record, request_id="start")
    for number in range(20):
        await verifier.update(record, label=f"{number}", request_id=f"update-{number}")

    for _ in range(12):
        assert (await verifier.start(record, request_id="start")).code == first.code
    for _ in range(5):
        await verifier.check(record, other_than(first.code))
    over = await verifier.start(record, request_id="start")

    assert (over.code, over.attempts_left, over.HasField("expires_at")) == ("", 0, False)
    # One of ten sends of the value was counted.
    for _ in range(5):
        await verifier.start(record)
    verifier.clock.forward(minutes=30)
    for _ in range(4):
        await verifier.start(record)
    assert (await retry_after(verifier.start(record)))[0] == "value_day"


async def test_requests_are_recognized_after_the_secret_was_rotated(verifier: Verifier, secrets: Rotating) -> None:
    record = await verifier.api.create()
    code = (await verifier.start(record, request_id="start")).code
    wrong = await verifier.check(record, other_than(code), request_id="wrong")
    secrets.rotate()

    assert (await verifier.start(record, request_id="start")).code == code
    assert await verifier.check(record, other_than(code), request_id="wrong") == wrong
    assert (await failure_of(verifier.check(record, code, request_id="wrong"))).reason == "REQUEST_ID_REUSED"
    assert (await verifier.start(record)).code == code
    assert (await verifier.check(record, code, request_id="right")).result == VERIFIED
    secrets.rotate()
    assert (await verifier.check(record, code, request_id="right")).result == VERIFIED


async def test_a_challenge_ends_with_its_secret(verifier: Verifier, secrets: Rotating) -> None:
    record = await verifier.api.create()
    code = (await verifier.start(record, request_id="start")).code
    secrets.rotate()
    secrets.retire()

    assert (await failure_of(verifier.check(record, code))).reason == "VERIFICATION_NOT_STARTED"
    assert (await verifier.start(record, request_id="start")).code == ""
    new = await verifier.start(record)
    assert (new.attempts_left, new.sends_left) == (5, 4)
    assert (await verifier.check(record, new.code)).result == VERIFIED


async def test_nothing_is_left_to_verify_of_an_erased_client(verifier: Verifier) -> None:
    record = await verifier.api.create(client_id="gone")
    code = (await verifier.start(record, request_id="start")).code
    await verifier.check(record, code, request_id="check")
    await verifier.api.stub.EraseClientContactMethods(pb.EraseClientContactMethodsRequest(client_id="gone"))

    for call in (
        verifier.start(record),
        verifier.start(record, request_id="start"),
        verifier.check(record, code),
        verifier.check(record, code, request_id="check"),
        verifier.set(record, True),
    ):
        gone = await failure_of(call)
        assert (gone.code, gone.reason) == (grpc.StatusCode.NOT_FOUND, "CONTACT_METHOD_NOT_FOUND")


async def test_an_unparsed_value_is_verified_by_word_only(on_embedded: OpenStores) -> None:
    text = "+49 171 1234567 (Eva)"
    async with serving(await on_embedded(), ValueRules(lenient=True)) as api:
        verifier = Verifier(api, Clock())
        record = await api.create(value=text, type=PHONE)

        assert (await failure_of(verifier.check(record, "123456"))).reason == "VERIFICATION_NOT_STARTED"
        changed = await failure_of(verifier.set(record, True, value="+49 171 1234567"))
        attested = await verifier.set(record, True, value=text)
        respelt = await verifier.update(record, value=text.lower())
        again = await verifier.set(record, True)
        corrected = await verifier.update(record, value="+49 171 1234567")

    assert changed.reason == "VALUE_CHANGED"
    assert (attested.is_verified, again.is_verified) == (True, True)
    # Without a normal form the text is what was verified.
    assert (respelt.is_verified, corrected.is_verified) == (False, False)


async def test_a_key_that_may_only_verify_sees_which_limit_it_has_met(server: Guarded) -> None:
    contact = await (await keyed(server)).api.create()
    service = await keyed(server, "verify")
    sends = [await service.start(contact) for _ in range(5)]

    limit, seconds = await retry_after(service.start(contact))

    assert {(bool(send.code), send.HasField("contact_method")) for send in sends} == {(True, False)}
    assert limit == "sends"
    assert 0 < seconds <= 600


async def test_a_key_may_do_what_its_permission_says_and_no_more(server: Guarded) -> None:
    owner = await keyed(server)
    service, clerk, reader = [await keyed(server, name) for name in ("verify", "attest", "read")]
    record = await owner.api.create()
    code = (await service.start(record)).code

    for caller, missing, calls in (
        (service, "attest", [service.set(record, True)]),
        (clerk, "verify", [clerk.start(record), clerk.check(record, code)]),
        (reader, "verify", [reader.start(record), reader.check(record, code)]),
        (reader, "attest", [reader.set(record, True)]),
    ):
        for call in calls:
            refused = await failure_of(call)
            assert (refused.code, refused.reason) == (grpc.StatusCode.PERMISSION_DENIED, "PERMISSION_DENIED")
            assert missing in refused.message
        assert not (await owner.api.get(record.id)).is_verified, caller
    assert await clerk.set(record, True) == pb.ContactMethod(id=record.id)


async def test_two_keys_never_meet_in_a_request_id(server: Guarded) -> None:
    owner, one, other = await keyed(server), await keyed(server, "verify"), await keyed(server, "verify")
    record = await owner.api.create()
    code = (await one.start(record, request_id="r")).code

    resent = await other.start(record, request_id="r")
    answers = [await caller.check(record, other_than(code), request_id="c") for caller in (one, other, one)]

    assert (resent.code, resent.sends_left) == (code, 3)
    assert [answer.attempts_left for answer in answers] == [4, 3, 4]


async def test_a_challenge_of_another_environment_is_not_found(verifier: Verifier) -> None:
    record = await verifier.api.create()
    code = (await verifier.start(record)).code
    check: Any = pb.CheckContactMethodVerificationRequest(id=record.id, code=code)

    refused = await failure_of(
        verifier.api.stub.CheckContactMethodVerification(check, metadata=(("x-environment", "test"),))
    )

    assert refused.reason == "CONTACT_METHOD_NOT_FOUND"
    assert (await verifier.check(record, code)).attempts_left == 5
