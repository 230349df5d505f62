"""Whatever callers do in whatever order, the service has the records that the contract says, and says so."""

from __future__ import annotations

import asyncio
import itertools
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import grpc
from hypothesis import HealthCheck, Phase, Verbosity, note, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from contactsvc.v1 import contact_methods_pb2 as pb
from contactsvc.v1 import contact_methods_pb2_grpc as pb_grpc
from tests.conftest import OpenStores, RpcFailure, serving
from tests.property import model
from tests.property.answers import CODES, Comparison, outcome_of, records_in
from tests.property.model import NORMALIZED, Choices, Expected, Fault, Outcome, Record, World, every_way
from tests.property.requests import CLIENTS, EXTERNAL_IDS, KEYS, NOWHERE, TYPES, VALUES, Requests

EXAMPLES = int(os.environ.get("CONTACTSVC_TEST_PROPERTY_EXAMPLES", "30"))
STEPS = 40
# What one page can show.
MOST_RECORDS = 190
# Few enough records that every request has something to collide with.
ENOUGH_RECORDS = 16

Predict = Callable[[World, Choices], tuple[World, Expected]]

_request_numbers = itertools.count()
_page_sizes = st.sampled_from([1, 2, 3, 7, 200])
_fields = st.sampled_from([pb.CONTACT_METHOD_SORT_FIELD_CREATED_AT, pb.CONTACT_METHOD_SORT_FIELD_UPDATED_AT])
_sorts = st.lists(
    st.builds(pb.ContactMethodSort, field=_fields, descending=st.booleans()),
    max_size=2,
    unique_by=lambda key: key.field,
)


@dataclass(frozen=True)
class Written:
    """A write that succeeded, to be repeated."""

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


class Callers(RuleBasedStateMachine):
    """Everything that callers can ask for, each time compared with the model."""

    def __init__(self, stub: Any) -> None:
        super().__init__()
        self.stub = stub
        self.gone: list[str] = []
        self.journal: list[Written] = []
        self.unused_request_ids: list[str] = []
        # Not at the end of an example: one that fails may leave anything behind.
        for client_id in CLIENTS:
            stub.EraseClientContactMethods(pb.EraseClientContactMethodsRequest(client_id=client_id))
        self.messages = self.listed()
        assert not self.messages
        self.records: dict[str, Record] = {}

    @initialize(data=st.data())
    def create_some(self, data: st.DataObject) -> None:
        requests = self.requests(data)
        items = [requests.create() for _ in range(data.draw(st.integers(1, 8)))]
        request = pb.BatchCreateContactMethodsRequest(requests=items, partial=True)
        self.write_several("BatchCreateContactMethods", request, model.create)

    def listed(self) -> dict[str, pb.ContactMethod]:
        response = self.stub.ListContactMethods(pb.ListContactMethodsRequest(page_size=200))
        assert not response.next_page_token
        return {message.id: message for message in response.contact_methods}

    def requests(self, data: st.DataObject) -> Requests:
        return Requests(data.draw, self.messages.values(), self.gone[-2:])

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
        self.write("SyncClientContactMethods", request, lambda world, choices: model.sync(world, request, choices))

    @precondition(has_room)
    @rule(data=st.data())
    def sync_twice(self, data: st.DataObject) -> None:
        request = self.requests(data).sync()
        for item in request.items:
            item.etag = ""
        predict: Predict = lambda world, choices: model.sync(world, request, choices)  # noqa: E731
        if isinstance(self.write("SyncClientContactMethods", request, predict), RpcFailure):
            return
        before = self.messages

        again = self.write("SyncClientContactMethods", request, predict)

        self.check_sync_again(request, before, again)

    @rule(data=st.data())
    def erase(self, data: st.DataObject) -> None:
        # Seldom, for with no records there is nothing to find.
        if data.draw(st.sampled_from([False, False, False, True])):
            request = self.named(data, self.requests(data).erase())
            self.write("EraseClientContactMethods", request, lambda world, _: model.erase(world, request))

    @precondition(has_records)
    @rule(data=st.data())
    def update_often(self, data: st.DataObject) -> None:
        # A record remembers its last requests itself, but not any number of them.
        if data.draw(st.sampled_from([False] * 7 + [True])):
            id_ = self.requests(data).id()
            for turn in range(18):
                request = pb.UpdateContactMethodRequest(id=id_, label=f"{turn}", request_id=self.new_request_id())
                self.write_one("UpdateContactMethod", request, model.update)

    @precondition(has_written)
    @rule(data=st.data())
    def repeat(self, data: st.DataObject) -> None:
        written = self.journal[data.draw(st.integers(0, len(self.journal) - 1))]
        note(f"again: {written.rpc}({written.request})")
        before = self.messages

        answer = self.call(written.rpc, written.request)

        self.messages = self.listed()
        assert self.messages == before, "a repeated request changed something"
        assert self.is_repetition(written.response, answer), f"first: {written.response}, again: {answer}"

    @precondition(has_written)
    @rule(data=st.data())
    def reuse_a_request_id(self, data: st.DataObject) -> None:
        written = self.journal[data.draw(st.integers(0, len(self.journal) - 1))]
        requests = self.requests(data)
        rpc, request = data.draw(
            st.sampled_from(
                [
                    ("CreateContactMethod", pb.CreateContactMethodRequest),
                    ("UpdateContactMethod", pb.UpdateContactMethodRequest),
                    ("DeleteContactMethod", pb.DeleteContactMethodRequest),
                    ("UpsertContactMethod", pb.UpsertContactMethodRequest),
                    ("BatchCreateContactMethods", pb.BatchCreateContactMethodsRequest),
                    ("BatchUpdateContactMethods", pb.BatchUpdateContactMethodsRequest),
                    ("BatchDeleteContactMethods", pb.BatchDeleteContactMethodsRequest),
                    ("BatchUpsertContactMethods", pb.BatchUpsertContactMethodsRequest),
                    ("SyncClientContactMethods", pb.SyncClientContactMethodsRequest),
                    ("EraseClientContactMethods", pb.EraseClientContactMethodsRequest),
                ]
            )
        )
        target: dict[str, Any] = {"client_id": "c1", "type": TYPES[0], "value": VALUES[0], "label": "reused"}
        match request():
            case pb.CreateContactMethodRequest():
                other: Any = pb.CreateContactMethodRequest(**target)
            case pb.UpsertContactMethodRequest():
                other = pb.UpsertContactMethodRequest(**target, external_id="x1")
            case pb.UpdateContactMethodRequest():
                other = pb.UpdateContactMethodRequest(id=requests.id(), label="reused")
            case pb.DeleteContactMethodRequest():
                other = requests.delete()
            case pb.EraseClientContactMethodsRequest():
                other = requests.erase()
            case pb.SyncClientContactMethodsRequest():
                other = pb.SyncClientContactMethodsRequest(client_id="c1", allow_empty_replace=True, replace=True)
            case pb.BatchCreateContactMethodsRequest():
                other = pb.BatchCreateContactMethodsRequest(requests=[pb.CreateContactMethodRequest(**target)])
            case pb.BatchUpsertContactMethodsRequest():
                item = pb.UpsertContactMethodRequest(**target, external_id="x1")
                other = pb.BatchUpsertContactMethodsRequest(requests=[item])
            case pb.BatchDeleteContactMethodsRequest():
                other = pb.BatchDeleteContactMethodsRequest(ids=[requests.id()], partial=True)
            case _:
                update = pb.UpdateContactMethodRequest(id=requests.id(), label="reused")
                other = pb.BatchUpdateContactMethodsRequest(requests=[update], partial=True)
        other.request_id = written.request.request_id
        if other == written.request:
            return
        before = self.messages

        failure = self.call(rpc, other)

        self.messages = self.listed()
        assert isinstance(failure, RpcFailure), "the id of another request was accepted"
        assert (failure.reason, failure.code) == ("REQUEST_ID_REUSED", CODES["REQUEST_ID_REUSED"])
        assert self.messages == before

    @rule(data=st.data())
    def read(self, data: st.DataObject) -> None:
        # One rule for all reads, so that most steps are writes.
        reads = (
            self.get,
            self.get_by_metadata,
            self.get_primary,
            self.batch_get,
            self.list_client,
            self.list_all,
            self.stream,
        )
        data.draw(st.sampled_from(reads))(data)

    def get(self, data: st.DataObject) -> None:
        id_ = self.requests(data).id()
        self.expect_record(self.call("GetContactMethod", pb.GetContactMethodRequest(id=id_)), [id_])
        external_id = data.draw(st.sampled_from(EXTERNAL_IDS))
        holders = [i for i, record in self.records.items() if record.external_id == external_id]
        request = pb.GetContactMethodByExternalIdRequest(external_id=external_id)
        self.expect_record(self.call("GetContactMethodByExternalId", request), holders)

    def get_by_metadata(self, data: st.DataObject) -> None:
        key, value = data.draw(st.sampled_from(KEYS)), data.draw(st.sampled_from(["1", "2"]))
        client_id = data.draw(st.sampled_from([*CLIENTS, None]))
        request = pb.GetContactMethodByMetadataRequest(key=key, value=value, client_id=client_id)
        carriers = [
            id_
            for id_, record in self.records.items()
            if record.metadata.get(key) == value and client_id in {None, record.client_id}
        ]
        answer = self.call("GetContactMethodByMetadata", request)
        if len(carriers) > 1:
            assert isinstance(answer, RpcFailure)
            assert (answer.reason, answer.code) == ("METADATA_AMBIGUOUS", CODES["METADATA_AMBIGUOUS"])
        else:
            self.expect_record(answer, carriers)

    def get_primary(self, data: st.DataObject) -> None:
        client_id, type_ = data.draw(st.sampled_from(CLIENTS)), data.draw(st.sampled_from(TYPES))
        primary = World(self.records).primary((client_id, type_))

        answer = self.call(
            "GetPrimaryContactMethod", pb.GetPrimaryContactMethodRequest(client_id=client_id, type=type_)
        )

        assert answer == pb.GetPrimaryContactMethodResponse(contact_method=self.messages[primary] if primary else None)

    def batch_get(self, data: st.DataObject) -> None:
        requests = self.requests(data)
        ids = [requests.id() for _ in range(data.draw(st.integers(1, 5)))]

        answer = self.call("BatchGetContactMethods", pb.BatchGetContactMethodsRequest(ids=ids))

        assert list(answer.contact_methods) == [self.messages[id_] for id_ in ids if id_ in self.messages]
        assert list(answer.missing_ids) == [id_ for id_ in ids if id_ not in self.messages]

    def list_all(self, data: st.DataObject) -> None:
        sort, page_size = data.draw(_sorts), data.draw(_page_sizes)
        offset = data.draw(st.sampled_from([0, 0, 1, 3, 30]))
        filter_, ids = self.filtered(data)
        expected = self.in_order(ids, sort)
        request = pb.ListContactMethodsRequest(
            filter=filter_, sort=sort, page_size=page_size, offset=offset, include_total_size=data.draw(st.booleans())
        )
        found: list[pb.ContactMethod] = []
        while True:
            page = self.call("ListContactMethods", request)
            assert len(page.contact_methods) <= page_size
            assert page.HasField("total_size") == request.include_total_size
            assert not request.include_total_size or page.total_size == len(expected)
            found += page.contact_methods
            if not page.next_page_token:
                break
            assert len(page.contact_methods) == page_size
            request.page_token, request.offset = page.next_page_token, 0
            if data.draw(st.sampled_from([False] * 7 + [True])):
                stream = pb.StreamContactMethodsRequest(filter=filter_, sort=sort, page_token=page.next_page_token)
                assert found + self.streamed(stream) == expected[offset:]
        assert found == expected[offset:]

    def stream(self, data: st.DataObject) -> None:
        sort = data.draw(_sorts)
        filter_, ids = self.filtered(data)
        assert self.streamed(pb.StreamContactMethodsRequest(filter=filter_, sort=sort)) == self.in_order(ids, sort)

    def list_client(self, data: st.DataObject) -> None:
        client_id, page_size = data.draw(st.sampled_from(CLIENTS)), data.draw(_page_sizes)
        type_ = data.draw(st.sampled_from([*TYPES, None]))
        request = pb.ListClientContactMethodsRequest(client_id=client_id, type=type_, page_size=page_size)
        found: list[pb.ContactMethod] = []
        while True:
            page = self.call("ListClientContactMethods", request)
            found += page.contact_methods
            if not page.next_page_token:
                break
            assert len(page.contact_methods) == page_size
            request.page_token = page.next_page_token
        ids = [i for i, r in self.records.items() if r.client_id == client_id and type_ in {None, r.type}]
        assert found == [self.messages[id_] for id_ in ids]

    def call(self, rpc: str, request: Any) -> Any:
        return outcome_of(getattr(self.stub, rpc), request)

    def streamed(self, request: pb.StreamContactMethodsRequest) -> list[pb.ContactMethod]:
        pages = list(self.stub.StreamContactMethods(request, timeout=30))
        assert all(page.next_page_token for page in pages[:-1])
        assert not pages or not pages[-1].next_page_token
        return [message for page in pages for message in page.contact_methods]

    def new_request_id(self) -> str:
        # IdempotencyRecord for longer than an example takes, hence never the same in two of them.
        return f"request-{next(_request_numbers)}"

    def named(self, data: st.DataObject, request: Any) -> Any:
        """Give a request an id, or none, or one that failed: that is not remembered."""
        choice = data.draw(st.sampled_from(["none", "new", "failed"]))
        if choice == "new":
            request.request_id = self.new_request_id()
        elif choice == "failed" and self.unused_request_ids:
            request.request_id = self.unused_request_ids.pop()
        return request

    def write_one(self, rpc: str, request: Any, apply: Callable[[World, Any], Outcome]) -> Any:
        def predict(world: World, _: Choices) -> tuple[World, Expected]:
            if problems := model.problems_of(request):
                return world, (Fault("INVALID_FIELD", problems),)
            after = world.copy()
            return after, apply(after, request)

        return self.write(rpc, request, predict)

    def write_several(self, rpc: str, request: Any, apply: Callable[[World, Any], Outcome]) -> Any:
        def predict(world: World, choices: Choices) -> tuple[World, Expected]:
            return model.batch(world, request.requests, apply, choices, partial=request.partial)

        return self.write(rpc, request, predict)

    def write(self, rpc: str, request: Any, predict: Predict) -> Any:
        """Make a write, and hold the answer and the records after it against what the model predicts."""
        note(f"{rpc}({request})")
        before = self.messages
        world = World(self.records, {id_: message.etag for id_, message in before.items()})

        answer = self.call(rpc, request)

        self.messages = self.listed()
        complaints = []
        for after, expected in every_way(partial(predict, world)):
            comparison = Comparison(before)
            if not comparison.agrees(expected, answer):
                complaints.append(f"expected {expected}")
                continue
            records = {comparison.real(id_): record for id_, record in after.records.items()}
            if [*records.items()] == [(id_, as_record(message)) for id_, message in self.messages.items()]:
                break
            complaints.append(f"expected {expected}, and the records {records}")
        else:
            actual = {id_: as_record(message) for id_, message in self.messages.items()}
            raise AssertionError(
                f"{rpc}({request})\nupon {self.records}\nanswered {answer}\nwith the records {actual}\n"
                + "\nor ".join(complaints)
            )
        self.gone += [id_ for id_ in before if id_ not in self.messages]
        self.records = records
        self.check_records(before)
        for message in records_in(answer):
            assert message == self.messages[message.id], "the answer shows another record than there is"
        self.remember(rpc, request, answer)
        return answer

    def check_sync_again(
        self, request: pb.SyncClientContactMethodsRequest, before: dict[str, pb.ContactMethod], again: Any
    ) -> None:
        """Check that "the same sync again leaves every record unchanged, with its etag"."""
        assert not isinstance(again, RpcFailure), f"the same sync again failed: {again}"
        assert self.messages == before, "the same sync again changed records"

    def check_records(self, before: dict[str, pb.ContactMethod]) -> None:
        """Check what holds for all records whatever the write was."""
        slots = [record.slot for record in self.records.values() if record.is_primary]
        assert len(set(slots)) == len(slots), "two primaries of one client and type"
        external_ids = [record.external_id for record in self.records.values() if record.external_id is not None]
        assert len(set(external_ids)) == len(external_ids), "two records with one external id"
        assert len(self.records) <= MOST_RECORDS
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
        # Whether a partial batch of which every item failed has failed itself is open.
        if results is None or any(result.WhichOneof("outcome") != "error" for result in results):
            self.journal.append(Written(rpc, request, answer))

    def is_repetition(self, first: Any, answer: Any) -> bool:
        """Tell whether an answer is the first one with its records as they are now."""
        gone = [message.id for message in records_in(first) if message.id not in self.messages]
        if isinstance(answer, RpcFailure):
            # A batch has errors of items for that. A sync has none: it may fail or leave the record out.
            return bool(gone) and answer.reason == "CONTACT_METHOD_NOT_FOUND" and not hasattr(first, "results")
        expected = type(first)()
        expected.CopyFrom(first)
        if isinstance(first, pb.SyncClientContactMethodsResponse):
            for name in ("created", "updated", "unchanged"):
                now = [self.messages[message.id] for message in getattr(first, name) if message.id in self.messages]
                expected.ClearField(name)
                getattr(expected, name).extend(now)
            return bool(expected == answer)
        if not hasattr(first, "results"):
            for message in records_in(expected):
                if message.id in gone:
                    return False
                message.CopyFrom(self.messages[message.id])
            return bool(expected == answer)
        if len(answer.results) != len(expected.results):
            return False
        for one, other in zip(expected.results, answer.results, strict=True):
            if one.WhichOneof("outcome") == "contact_method" and one.contact_method.id in gone:
                if (other.error.code, other.error.reason) != (5, "CONTACT_METHOD_NOT_FOUND"):
                    return False
                continue
            if one.WhichOneof("outcome") == "contact_method":
                one.contact_method.CopyFrom(self.messages[one.contact_method.id])
            if one != other:
                return False
        return True

    def expect_record(self, answer: Any, ids: list[str]) -> None:
        """Expect the only record of `ids`, or NOT_FOUND where there is none."""
        found = [self.messages[id_] for id_ in ids if id_ in self.messages]
        if found:
            assert [answer.contact_method] == found
        else:
            assert isinstance(answer, RpcFailure)
            assert answer.reason == "CONTACT_METHOD_NOT_FOUND"
            assert answer.code is grpc.StatusCode.NOT_FOUND

    def filtered(self, data: st.DataObject) -> tuple[pb.ContactMethodFilter, list[str]]:
        """Draw a filter, and return the ids of the records that it lets through."""
        times = [message.created_at for message in self.messages.values()]
        times += [message.updated_at for message in self.messages.values()]
        optional: dict[str, st.SearchStrategy[Any]] = {
            "ids": st.lists(st.sampled_from([*self.records, NOWHERE]), min_size=1, max_size=3),
            "client_ids": st.lists(st.sampled_from([*CLIENTS, "nobody"]), min_size=1, max_size=2),
            "types": st.lists(st.sampled_from(TYPES), min_size=1, max_size=2),
            "values": st.lists(st.sampled_from(VALUES), min_size=1, max_size=2),
            "value_contains": st.sampled_from(["example", "Example", "+52", ".", "*", "55 1"]),
            "is_primary": st.booleans(),
            "is_verified": st.sampled_from([False, False, False, True]),
            "external_ids": st.lists(st.sampled_from(EXTERNAL_IDS), min_size=1, max_size=2),
            "labels": st.lists(st.sampled_from(["Home", "Work", "home"]), min_size=1, max_size=2),
            "metadata": st.dictionaries(st.sampled_from(KEYS), st.sampled_from(["1", "2"]), min_size=1, max_size=2),
        }
        if times:
            bounds = ("created_at_or_after", "created_before", "updated_at_or_after", "updated_before")
            optional |= dict.fromkeys(bounds, st.sampled_from(times))
        names = data.draw(st.lists(st.sampled_from(sorted(optional)), max_size=3, unique=True))
        asked = {name: data.draw(optional[name]) for name in names}
        conditions: dict[str, Callable[[str, Record, Any], bool]] = {
            "ids": lambda id_, _, wanted: id_ in wanted,
            "client_ids": lambda _, record, wanted: record.client_id in wanted,
            "types": lambda _, record, wanted: record.type in wanted,
            "values": lambda _, record, wanted: (
                record.normalized in {NORMALIZED[record.type].get(text.strip()) for text in wanted}
            ),
            "value_contains": lambda _, record, wanted: wanted in record.value,
            "is_primary": lambda _, record, wanted: record.is_primary is wanted,
            "is_verified": lambda _id, _record, wanted: not wanted,
            "external_ids": lambda _, record, wanted: record.external_id in wanted,
            "labels": lambda _, record, wanted: record.label in wanted,
            "metadata": lambda _, record, wanted: wanted.items() <= record.metadata.items(),
            "created_at_or_after": lambda id_, _, wanted: self.created(id_) >= wanted.ToNanoseconds(),
            "created_before": lambda id_, _, wanted: self.created(id_) < wanted.ToNanoseconds(),
            "updated_at_or_after": lambda id_, _, wanted: self.updated(id_) >= wanted.ToNanoseconds(),
            "updated_before": lambda id_, _, wanted: self.updated(id_) < wanted.ToNanoseconds(),
        }
        ids = [
            id_
            for id_, record in self.records.items()
            if all(conditions[name](id_, record, wanted) for name, wanted in asked.items())
        ]
        return pb.ContactMethodFilter(**asked), ids

    def in_order(self, ids: list[str], sort: list[pb.ContactMethodSort]) -> list[pb.ContactMethod]:
        keys = sort or [pb.ContactMethodSort(field=pb.CONTACT_METHOD_SORT_FIELD_CREATED_AT)]
        ordered = sorted(ids, reverse=keys[-1].descending)
        for key in reversed(keys):
            by = self.created if key.field == pb.CONTACT_METHOD_SORT_FIELD_CREATED_AT else self.updated
            # A stable sort with `reverse` keeps equal elements as they are.
            ordered.sort(key=by, reverse=key.descending)
        return [self.messages[id_] for id_ in ordered]

    def created(self, id_: str) -> int:
        return int(self.messages[id_].created_at.ToNanoseconds())

    def updated(self, id_: str) -> int:
        return int(self.messages[id_].updated_at.ToNanoseconds())


async def test_the_service_does_what_the_contract_says(on_embedded: OpenStores) -> None:
    profile = settings(
        max_examples=EXAMPLES,
        stateful_step_count=STEPS,
        deadline=None,
        derandomize=False,
        print_blob=True,
        # One at a time, for shrinking a long conversation takes its time.
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

    # The callers block, so they have a thread of their own. The server stays in the loop of the suite: gRPC disturbs
    # itself where two loops of a process use it.
    async with serving(await on_embedded()) as api:
        await asyncio.to_thread(talk, api.target)
