"""A conversation with the service, in which every answer is compared with the model."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import grpc
from hypothesis import note
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine

from contactsvc.v1 import contact_methods_pb2 as pb
from tests.conftest import RpcFailure
from tests.property import model
from tests.property.answers import Comparison, outcome_of, records_in
from tests.property.field_rules import problems_of
from tests.property.requests import CLIENTS, Requests
from tests.property.world import NORMALIZED, Choices, Expected, Fault, Record, Result, World, every_way

# The most that one page can show.
_MAX_RECORDS = 190

Predict = Callable[[World, Choices], tuple[World, Expected]]

_request_numbers = itertools.count()


@dataclass(frozen=True)
class Written:
    """A write that succeeded."""

    rpc: str
    request: Any
    response: Any


def as_record(message: pb.ContactMethod) -> Record:
    return Record(
        client_id=message.client_id,
        type=message.type,
        value=message.value,
        label=message.label if message.HasField("label") else None,
        is_primary=message.is_primary,
        external_id=message.external_id if message.HasField("external_id") else None,
        metadata=dict(message.metadata),
    )


class Conversation(RuleBasedStateMachine):
    """Calls of the service, and the records that the model expects after each.

    Attributes:
        stub: the stub of the service.
        records: the records, by id, oldest first, according to the model.
        messages: the same records, as the service lists them.
        gone: the ids of deleted records.
        journal: the writes that succeeded, to be repeated.
        unused_request_ids: the request ids of writes that failed.
    """

    def __init__(self, stub: Any) -> None:
        super().__init__()
        self.stub = stub
        self.gone: list[str] = []
        self.journal: list[Written] = []
        self.unused_request_ids: list[str] = []
        # At the start: a failed example may leave any records.
        for client_id in CLIENTS:
            stub.EraseClientContactMethods(pb.EraseClientContactMethodsRequest(client_id=client_id))
        self.messages = self.listed()
        assert not self.messages
        self.records: dict[str, Record] = {}

    def listed(self) -> dict[str, pb.ContactMethod]:
        response = self.stub.ListContactMethods(pb.ListContactMethodsRequest(page_size=200))
        assert not response.next_page_token
        return {message.id: message for message in response.contact_methods}

    def requests(self, data: st.DataObject) -> Requests:
        return Requests(data.draw, self.messages.values(), self.gone[-2:])

    def call(self, rpc: str, request: Any) -> Any:
        return outcome_of(getattr(self.stub, rpc), request)

    def streamed(self, request: pb.StreamContactMethodsRequest) -> list[pb.ContactMethod]:
        pages = list(self.stub.StreamContactMethods(request, timeout=30))
        assert all(page.next_page_token for page in pages[:-1])
        assert not pages or not pages[-1].next_page_token
        return [message for page in pages for message in page.contact_methods]

    def new_request_id(self) -> str:
        # The service stores it for longer than an example takes, so it is unique in the whole run.
        return f"request-{next(_request_numbers)}"

    def named(self, data: st.DataObject, request: Any) -> Any:
        """Give a request no request_id, a new one, or that of a failed write, which the service does not store."""
        choice = data.draw(st.sampled_from(["none", "new", "failed"]))
        if choice == "new":
            request.request_id = self.new_request_id()
        elif choice == "failed" and self.unused_request_ids:
            request.request_id = self.unused_request_ids.pop()
        return request

    def write_one(self, rpc: str, request: Any, apply: Callable[[World, Any], Result]) -> Any:
        def predict(world: World, _: Choices) -> tuple[World, Expected]:
            if problems := problems_of(request):
                return world, (Fault("INVALID_FIELD", problems),)
            after = world.copy()
            return after, apply(after, request)

        return self.write(rpc, request, predict)

    def write_several(self, rpc: str, request: Any, apply: Callable[[World, Any], Result]) -> Any:
        def predict(world: World, choices: Choices) -> tuple[World, Expected]:
            return model.batch(world, request.requests, apply, choices, partial=request.partial)

        return self.write(rpc, request, predict)

    def write(self, rpc: str, request: Any, predict: Predict) -> Any:
        """Make a write, and compare the answer and the resulting records with the prediction of the model."""
        note(f"{rpc}({request})")
        before = self.messages
        world = World(self.records, {id_: message.etag for id_, message in before.items()})

        answer = self.call(rpc, request)

        self.messages = self.listed()
        mismatches = []
        for after, expected in every_way(partial(predict, world)):
            comparison = Comparison(before)
            if not comparison.agrees(expected, answer):
                mismatches.append(f"expected {expected}")
                continue
            records = {comparison.real(id_): record for id_, record in after.records.items()}
            if [*records.items()] == [(id_, as_record(message)) for id_, message in self.messages.items()]:
                break
            mismatches.append(f"expected {expected}, and the records {records}")
        else:
            actual = {id_: as_record(message) for id_, message in self.messages.items()}
            raise AssertionError(
                f"{rpc}({request})\nupon {self.records}\nanswered {answer}\nwith the records {actual}\n"
                + "\nor ".join(mismatches)
            )
        self.gone += [id_ for id_ in before if id_ not in self.messages]
        self.records = records
        self.check_records(before)
        for message in records_in(answer):
            assert message == self.messages[message.id], "the answer shows a record that differs from the stored one"
        self.remember(rpc, request, answer)
        return answer

    def check_records(self, before: dict[str, pb.ContactMethod]) -> None:
        """Check the invariants of all records."""
        slots = [record.slot for record in self.records.values() if record.is_primary]
        assert len(set(slots)) == len(slots), "two primaries of one client and type"
        external_ids = [record.external_id for record in self.records.values() if record.external_id is not None]
        assert len(set(external_ids)) == len(external_ids), "two records with one external id"
        assert len(self.records) <= _MAX_RECORDS
        for id_, now in self.messages.items():
            assert now.normalized_value == NORMALIZED[now.type][now.value]
            assert not now.is_verified
            assert not now.HasField("verified_at")
            assert now.created_at.ToNanoseconds() <= now.updated_at.ToNanoseconds()
            assert now.created_at.nanos % 1_000_000 == now.updated_at.nanos % 1_000_000 == 0
            earlier = before.get(id_)
            if earlier is None:
                continue
            assert now.created_at == earlier.created_at
            assert now.updated_at.ToNanoseconds() >= earlier.updated_at.ToNanoseconds(), "updated_at went back"
            if as_record(now) != as_record(earlier):
                assert now.etag != earlier.etag, "a record changed without its etag"
            else:
                assert now == earlier, "etag or updated_at changed without the record"

    def remember(self, rpc: str, request: Any, answer: Any) -> None:
        if not request.request_id:
            return
        if isinstance(answer, RpcFailure):
            self.unused_request_ids.append(request.request_id)
            return
        results = getattr(answer, "results", None)
        # The request_id of a partial batch in which every item failed is not stored.
        if results is None or any(result.WhichOneof("outcome") != "error" for result in results):
            self.journal.append(Written(rpc, request, answer))

    def expect_record(self, answer: Any, ids: list[str]) -> None:
        """Expect the only existing record of `ids`, or NOT_FOUND if none exists."""
        found = [self.messages[id_] for id_ in ids if id_ in self.messages]
        if found:
            assert [answer.contact_method] == found
        else:
            assert isinstance(answer, RpcFailure)
            assert answer.reason == "CONTACT_METHOD_NOT_FOUND"
            assert answer.code is grpc.StatusCode.NOT_FOUND

    def created(self, id_: str) -> int:
        return int(self.messages[id_].created_at.ToNanoseconds())

    def updated(self, id_: str) -> int:
        return int(self.messages[id_].updated_at.ToNanoseconds())
