"""Verification compared with a model, over long random sequences of calls and steps of the clock."""

from __future__ import annotations

import asyncio
import itertools
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from functools import partial
from typing import Any

import grpc
from hypothesis import HealthCheck, Phase, note, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test

from contactsvc.v1 import contact_methods_pb2 as pb
from contactsvc.v1 import contact_methods_pb2_grpc as pb_grpc
from tests.conftest import OpenStores, RpcFailure, serving
from tests.examples import examples
from tests.property.answers import outcome_of
from tests.property.verification_model import Record, World
from tests.verifier import NUMBER, PHONE, VERIFIED, WRONG_CODE, Clock, other_than, timestamp

EXAMPLES = examples(default=4, long=150, variable="CONTACTSVC_TEST_PROPERTY_EXAMPLES")
STEPS = 30
MAX_RECORDS = 4

# Two numbers, the first in two spellings.
VALUES = {NUMBER: "+525550000142", "+52 (55) 5000-0142": "+525550000142", "+52 55 5000 0143": "+525550000143"}
_values = st.sampled_from([*VALUES])
_labels = st.sampled_from([None, "Home", "Work"])
_flags = st.sampled_from([None, None, True, False])
_request_ids = (f"verification-{number}" for number in itertools.count())
_examples = itertools.count()


@dataclass(frozen=True)
class Remembered:
    """A request that was carried out, its answer, and when; of a start also the challenge that it was about."""

    rpc: str
    request: Any
    answer: Any
    at: datetime


def flagged(request: Any, flag: bool | None) -> None:
    """Set the primary flag of a request, unless it is to be left alone."""
    if flag is not None:
        request.is_primary = flag


class Verification(RuleBasedStateMachine):
    """Callers who verify the records of two clients."""

    def __init__(self, stub: Any, clock: Clock) -> None:
        super().__init__()
        self.stub = stub
        # A day of its own, so that no example meets the sends of another one.
        self.clock = clock
        clock.now = datetime.combine(clock.now.date() + timedelta(days=2), time(23), UTC)
        self.world = World(clock.now)
        example = next(_examples)
        self.clients = [f"{name}-{example}" for name in ("ana", "bo")]
        self.journal: list[Remembered] = []
        self.stale_codes: list[str] = []
        self.recent = ""

    def call(self, rpc: str, request: Any) -> Any:
        note(f"{self.clock.now:%d %H:%M:%S} {rpc}({request})")
        return outcome_of(getattr(self.stub, rpc), request)

    def done(self, rpc: str, request: Any) -> Any:
        answer = self.call(rpc, request)
        assert not isinstance(answer, RpcFailure), f"{rpc}({request}): {answer}"
        return answer

    def compare(self) -> None:
        """Compare all records with the model."""
        stored: dict[str, pb.ContactMethod] = {}
        for client_id in self.clients:
            request = pb.ListClientContactMethodsRequest(client_id=client_id)
            stored |= {one.id: one for one in self.stub.ListClientContactMethods(request, timeout=30).contact_methods}
        assert stored.keys() == self.world.records.keys()
        for id_, record in self.world.records.items():
            now = stored[id_]
            assert (now.value, now.is_primary) == (record.value, record.is_primary)
            assert now.is_verified is (record.verified_at is not None), f"{id_}: {record}"
            assert now.HasField("verified_at") is now.is_verified
            assert now.HasField("verification_method") is now.is_verified
            assert now.verification_method == record.method
            if record.verified_at is not None:
                assert now.verified_at.ToDatetime(UTC) == record.verified_at

    def an_id(self, data: st.DataObject) -> str:
        """Draw a record, mostly the one that was drawn last, so that much happens to it."""
        ids = [*self.world.records]
        recent = [self.recent] * 3 * len(ids) if self.recent in ids else []
        self.recent = data.draw(st.sampled_from([*recent, *ids]))
        return self.recent

    def a_client(self, data: st.DataObject) -> str:
        """Draw a client, mostly the first, so that its records compete for the flag."""
        return data.draw(st.sampled_from([self.clients[0], *self.clients]))

    def remember(self, data: st.DataObject, request: Any) -> None:
        if data.draw(st.booleans()):
            request.request_id = next(_request_ids)

    def has_records(self) -> bool:
        return bool(self.world.records)

    @precondition(lambda self: len(self.world.records) < MAX_RECORDS)
    @rule(data=st.data())
    def create(self, data: st.DataObject) -> None:
        client_id, value = self.a_client(data), data.draw(_values)
        flag = data.draw(st.booleans()) or not self.world.records
        request = pb.CreateContactMethodRequest(client_id=client_id, type=PHONE, value=value, is_primary=flag)
        id_ = self.done("CreateContactMethod", request).contact_method.id
        self.world.put(id_, Record(client_id, PHONE, value, VALUES[value], flag))
        self.compare()

    @precondition(has_records)
    @rule(data=st.data())
    def start(self, data: st.DataObject) -> None:
        id_ = self.an_id(data)
        request = pb.StartContactMethodVerificationRequest(id=id_)
        self.remember(data, request)
        limit, living = self.world.limit_of_start(id_), self.world.living(id_)

        answer = self.call("StartContactMethodVerification", request)

        if limit:
            assert isinstance(answer, RpcFailure)
            assert (answer.reason, answer.metadata) == ("VERIFICATION_LIMIT", {"limit": limit})
            return
        assert not isinstance(answer, RpcFailure), answer
        if living is not None:
            assert answer.code == living.code
        elif (former := self.world.records[id_].challenge) is not None:
            self.stale_codes.append(former.code)
        challenge = self.world.start(id_, answer.code)
        assert (answer.attempts_left, answer.sends_left) == (5 - challenge.tries, 5 - challenge.sends)
        assert answer.expires_at.ToDatetime(UTC) == challenge.expires_at
        assert (answer.value, answer.type) == (self.world.records[id_].value, PHONE)
        if request.request_id:
            self.journal.append(Remembered("StartContactMethodVerification", request, answer, self.clock.now))
        self.compare()

    @precondition(has_records)
    @rule(data=st.data())
    def check_right(self, data: st.DataObject) -> None:
        self.check(data, right=True)

    @precondition(has_records)
    @rule(data=st.data())
    def check_wrong(self, data: st.DataObject) -> None:
        self.check(data, right=False)

    def check(self, data: st.DataObject, *, right: bool) -> None:
        id_ = self.an_id(data)
        challenge = self.world.records[id_].challenge
        known = "123456" if challenge is None else challenge.code
        wrong = data.draw(st.sampled_from([other_than(known), *self.stale_codes[-2:]]))
        code = known if right else wrong
        request = pb.CheckContactMethodVerificationRequest(id=id_, code=code)
        self.remember(data, request)
        refusal = self.world.refusal_of_check(id_)

        answer = self.call("CheckContactMethodVerification", request)

        if refusal:
            assert isinstance(answer, RpcFailure)
            assert answer.reason == refusal
            return
        is_right, attempts_left = self.world.check(id_, code)
        assert (answer.result, answer.attempts_left) == (VERIFIED if is_right else WRONG_CODE, attempts_left)
        if request.request_id:
            self.journal.append(Remembered("CheckContactMethodVerification", request, answer, self.clock.now))
        self.compare()

    @precondition(has_records)
    @rule(data=st.data(), verified=st.sampled_from([True, True, False]), value=st.sampled_from([None, None, *VALUES]))
    def set(self, data: st.DataObject, verified: bool, value: str | None) -> None:
        id_ = self.an_id(data)
        at, method = None, ""
        request = pb.SetContactMethodVerificationRequest(id=id_, verified=verified, value=value)
        if verified and data.draw(st.booleans()):
            at = self.clock.now - timedelta(days=data.draw(st.integers(0, 3)))
            request.verified_at.CopyFrom(timestamp(at))
        if verified and data.draw(st.booleans()):
            request.method = method = data.draw(st.sampled_from(["letter", "code"]))

        answer = self.call("SetContactMethodVerification", request)

        if value is not None and VALUES[value] != self.world.records[id_].normalized:
            assert isinstance(answer, RpcFailure)
            assert answer.reason == "VALUE_CHANGED"
            return
        assert not isinstance(answer, RpcFailure), answer
        self.world.set(id_, verified=verified, at=at, method=method)
        self.compare()

    @precondition(has_records)
    @rule(data=st.data())
    def change(self, data: st.DataObject) -> None:
        """Change records otherwise; one rule, so that most steps are about verification."""
        ways = [
            self.update,
            self.update,
            self.upsert,
            self.sync,
            self.change_twice,
            self.delete,
            self.delete,
            self.erase,
        ]
        data.draw(st.sampled_from(ways))(data)
        self.compare()

    def update(self, data: st.DataObject) -> None:
        id_, value, flag = self.an_id(data), data.draw(_values), data.draw(_flags)
        request = pb.UpdateContactMethodRequest(id=id_, value=value, label=data.draw(_labels))
        flagged(request, flag)
        self.done("UpdateContactMethod", request)
        self.world.change(id_, value=value, normalized=VALUES[value], is_primary=flag)

    def upsert(self, data: st.DataObject) -> None:
        client_id, value, flag = self.a_client(data), data.draw(_values), data.draw(_flags)
        request = pb.UpsertContactMethodRequest(
            client_id=client_id, external_id=f"x-{client_id}", type=PHONE, value=value
        )
        flagged(request, flag)
        id_ = self.done("UpsertContactMethod", request).contact_method.id
        if id_ not in self.world.records:
            self.world.put(id_, Record(client_id, PHONE, value, VALUES[value], bool(flag)))
        else:
            self.world.change(id_, value=value, normalized=VALUES[value], is_primary=flag)

    def sync(self, data: st.DataObject) -> None:
        id_, value = self.an_id(data), data.draw(_values)
        item = pb.SyncItem(id=id_, type=PHONE, value=value)
        request = pb.SyncClientContactMethodsRequest(client_id=self.world.records[id_].client_id, items=[item])
        self.done("SyncClientContactMethods", request)
        self.world.change(id_, value=value, normalized=VALUES[value])

    def change_twice(self, data: st.DataObject) -> None:
        id_, values = self.an_id(data), [data.draw(_values) for _ in range(2)]
        items = [pb.UpdateContactMethodRequest(id=id_, value=value) for value in values]
        self.done("BatchUpdateContactMethods", pb.BatchUpdateContactMethodsRequest(requests=items))
        for value in values:
            self.world.change(id_, value=value, normalized=VALUES[value])

    def delete(self, data: st.DataObject) -> None:
        primaries = [id_ for id_, record in self.world.records.items() if record.is_primary]
        id_ = data.draw(st.sampled_from(primaries)) if primaries else self.an_id(data)
        request = pb.DeleteContactMethodRequest(id=id_, on_primary=pb.PRIMARY_DELETE_POLICY_PROMOTE_NEXT)
        answer = self.done("DeleteContactMethod", request)
        assert (answer.promoted_id or None) == self.world.delete(id_)

    def erase(self, data: st.DataObject) -> None:
        client_id = self.a_client(data)
        self.done("EraseClientContactMethods", pb.EraseClientContactMethodsRequest(client_id=client_id))
        self.world.erase(client_id)

    @rule(seconds=st.sampled_from([1, 60, 120, 299, 300, 540, 600, 3600]))
    def wait(self, seconds: int) -> None:
        self.clock.forward(seconds=seconds)
        self.world.now = self.clock.now

    @precondition(lambda self: self.journal)
    @rule(data=st.data())
    def repeat(self, data: st.DataObject) -> None:
        done = data.draw(st.sampled_from(self.journal))
        if self.clock.now >= done.at + timedelta(days=1):
            self.journal.remove(done)
            return
        record = self.world.records.get(done.request.id)

        answer = self.call(done.rpc, done.request)

        if record is None:
            assert isinstance(answer, RpcFailure)
            assert answer.reason == "CONTACT_METHOD_NOT_FOUND"
        elif done.rpc == "CheckContactMethodVerification":
            first = done.answer
            assert (answer.result, answer.attempts_left) == (first.result, first.attempts_left)
        else:
            living = self.world.living(done.request.id)
            is_the_same = living is not None and living.code == done.answer.code
            assert answer.code == (done.answer.code if is_the_same else "")
            assert answer.value == record.value
        self.compare()

    @precondition(lambda self: self.journal)
    @rule(data=st.data())
    def repeat_with_another_code(self, data: st.DataObject) -> None:
        done = data.draw(st.sampled_from(self.journal))
        if done.rpc != "CheckContactMethodVerification" or self.clock.now >= done.at + timedelta(days=1):
            return
        request = pb.CheckContactMethodVerificationRequest()
        request.CopyFrom(done.request)
        request.code = other_than(request.code)

        answer = self.call(done.rpc, request)

        assert isinstance(answer, RpcFailure)
        # Once its record is gone, that may be what is reported.
        assert answer.reason in {"REQUEST_ID_REUSED", "CONTACT_METHOD_NOT_FOUND"}
        assert answer.reason == "REQUEST_ID_REUSED" or request.id not in self.world.records
        self.compare()


async def test_verification_does_what_the_contract_says(on_embedded: OpenStores) -> None:
    profile = settings(
        max_examples=EXAMPLES,
        stateful_step_count=STEPS,
        print_blob=True,
        report_multiple_bugs=False,
        phases=[phase for phase in Phase if phase is not Phase.explain],
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
    )
    clock = Clock()

    def talk(target: str) -> None:
        with grpc.insecure_channel(target) as channel:
            stub = pb_grpc.ContactMethodsServiceStub(channel)  # type: ignore[no-untyped-call]
            machine: Any = partial(Verification, stub, clock)
            run_state_machine_as_test(machine, settings=profile)

    # The callers block, so they run in a thread; see test_against_a_model.py.
    async with serving(await on_embedded(), clock=clock) as api:
        await asyncio.to_thread(talk, api.target)
