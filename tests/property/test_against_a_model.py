"""The service compared with a model of the contract, over long random sequences of calls."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

import grpc
from hypothesis import HealthCheck, Phase, Verbosity, note, settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, precondition, rule, run_state_machine_as_test

from contactsvc.v1 import contact_methods_pb2 as pb
from contactsvc.v1 import contact_methods_pb2_grpc as pb_grpc
from tests.conftest import OpenStores, RpcFailure, serving
from tests.examples import examples
from tests.property import model
from tests.property.answers import CODES
from tests.property.conversation import Predict
from tests.property.reads import Reads
from tests.property.repetition import OTHER_REQUESTS, is_repetition
from tests.property.sync_model import sync as model_of_sync
from tests.property.world import Choices, Expected, World

EXAMPLES = examples(default=12, long=60, variable="CONTACTSVC_TEST_PROPERTY_EXAMPLES")
STEPS = 40
# Few enough that requests collide.
ENOUGH_RECORDS = 16


class Callers(Reads):
    """Every request that callers can make."""

    @initialize(data=st.data())
    def create_some(self, data: st.DataObject) -> None:
        requests = self.requests(data)
        items = [requests.create() for _ in range(data.draw(st.integers(1, 8)))]
        request = pb.BatchCreateContactMethodsRequest(requests=items, partial=True)
        self.write_several("BatchCreateContactMethods", request, model.create)

    def has_room(self) -> bool:
        return len(self.records) < ENOUGH_RECORDS

    def has_records(self) -> bool:
        return bool(self.records)

    def has_written(self) -> bool:
        return bool(self.journal)

    @precondition(has_room)
    @rule(data=st.data())
    def create(self, data: st.DataObject) -> None:
        request = self.requests(data).create()
        self.write_one("CreateContactMethod", self.named(data, request), model.create)

    @precondition(has_records)
    @rule(data=st.data())
    def update(self, data: st.DataObject) -> None:
        request = self.requests(data).update()
        self.write_one("UpdateContactMethod", self.named(data, request), model.update)

    @rule(data=st.data())
    def upsert(self, data: st.DataObject) -> None:
        request = self.requests(data).upsert()
        self.write_one("UpsertContactMethod", self.named(data, request), model.upsert)

    @precondition(has_records)
    @rule(data=st.data())
    def delete(self, data: st.DataObject) -> None:
        request = self.named(data, self.requests(data).delete())

        def predict(world: World, _: Choices) -> tuple[World, Expected]:
            after = world.copy()
            outcome = model.delete(after, request)
            return after, outcome

        self.write("DeleteContactMethod", request, predict)

    @precondition(has_room)
    @rule(data=st.data())
    def batch_create(self, data: st.DataObject) -> None:
        request = self.requests(data).batch_create()
        self.write_several("BatchCreateContactMethods", self.named(data, request), model.create)

    @precondition(has_records)
    @rule(data=st.data())
    def batch_update(self, data: st.DataObject) -> None:
        request = self.requests(data).batch_update()
        self.write_several("BatchUpdateContactMethods", self.named(data, request), model.update)

    @precondition(has_room)
    @rule(data=st.data())
    def batch_upsert(self, data: st.DataObject) -> None:
        request = self.requests(data).batch_upsert()
        self.write_several("BatchUpsertContactMethods", self.named(data, request), model.upsert)

    @precondition(has_records)
    @rule(data=st.data())
    def batch_delete(self, data: st.DataObject) -> None:
        request = self.named(data, self.requests(data).batch_delete())
        self.write("BatchDeleteContactMethods", request, lambda world, _: model.batch_delete(world, request))

    @precondition(has_room)
    @rule(data=st.data())
    def sync(self, data: st.DataObject) -> None:
        request = self.named(data, self.requests(data).sync())
        self.write("SyncClientContactMethods", request, lambda world, choices: model_of_sync(world, request, choices))

    @precondition(has_room)
    @rule(data=st.data())
    def sync_twice(self, data: st.DataObject) -> None:
        request = self.requests(data).sync()
        for item in request.items:
            item.etag = ""
        predict: Predict = lambda world, choices: model_of_sync(world, request, choices)  # noqa: E731
        if isinstance(self.write("SyncClientContactMethods", request, predict), RpcFailure):
            return
        before = self.messages

        again = self.write("SyncClientContactMethods", request, predict)

        self.check_sync_again(request, before, again)

    def check_sync_again(
        self, request: pb.SyncClientContactMethodsRequest, before: dict[str, pb.ContactMethod], again: Any
    ) -> None:
        """Check that repeating a sync leaves every record and its etag unchanged."""
        assert not isinstance(again, RpcFailure), f"the same sync again failed: {again}"
        assert self.messages == before, "the same sync again changed records"

    @rule(data=st.data())
    def erase(self, data: st.DataObject) -> None:
        # Rarely, since without records the other rules have little to do.
        if data.draw(st.sampled_from([False, False, False, True])):
            request = self.named(data, self.requests(data).erase())
            self.write("EraseClientContactMethods", request, lambda world, _: model.erase(world, request))

    @precondition(has_records)
    @rule(data=st.data())
    def update_often(self, data: st.DataObject) -> None:
        # A document stores its latest request ids, but only a limited number of them.
        if data.draw(st.sampled_from([False] * 7 + [True])):
            id_ = self.requests(data).id()
            for turn in range(18):
                request = pb.UpdateContactMethodRequest(id=id_, label=f"{turn}", request_id=self.new_request_id())
                self.write_one("UpdateContactMethod", request, model.update)

    @precondition(has_written)
    @rule(data=st.data())
    def repeat(self, data: st.DataObject) -> None:
        written = self.journal[data.draw(st.integers(0, len(self.journal) - 1))]
        note(f"repeat: {written.rpc}({written.request})")
        before = self.messages

        answer = self.call(written.rpc, written.request)

        self.messages = self.listed()
        assert self.messages == before, "a repeated request changed something"
        assert is_repetition(written.response, answer, self.messages), f"first: {written.response}, again: {answer}"

    @precondition(has_written)
    @rule(data=st.data())
    def reuse_a_request_id(self, data: st.DataObject) -> None:
        written = self.journal[data.draw(st.integers(0, len(self.journal) - 1))]
        rpc = data.draw(st.sampled_from([*OTHER_REQUESTS]))
        other = OTHER_REQUESTS[rpc](self.requests(data))
        other.request_id = written.request.request_id
        if other == written.request:
            return
        before = self.messages

        failure = self.call(rpc, other)

        self.messages = self.listed()
        assert isinstance(failure, RpcFailure), "the id of another request was accepted"
        assert (failure.reason, failure.code) == ("REQUEST_ID_REUSED", CODES["REQUEST_ID_REUSED"])
        assert self.messages == before


async def test_the_service_does_what_the_contract_says(on_embedded: OpenStores) -> None:
    profile = settings(
        max_examples=EXAMPLES,
        stateful_step_count=STEPS,
        derandomize=False,
        print_blob=True,
        # Shrinking a long sequence of calls takes long enough for one bug.
        report_multiple_bugs=False,
        verbosity=Verbosity.normal,
        phases=[phase for phase in Phase if phase is not Phase.explain],
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
    )

    def talk(target: str) -> None:
        with grpc.insecure_channel(target) as channel:
            stub = pb_grpc.ContactMethodsServiceStub(channel)  # type: ignore[no-untyped-call]
            machine: Any = partial(Callers, stub)
            run_state_machine_as_test(machine, settings=profile)

    # The callers block, so they run in a thread. The server stays in the event loop of the suite: gRPC does not work
    # reliably with two event loops in one process.
    async with serving(await on_embedded()) as api:
        await asyncio.to_thread(talk, api.target)
