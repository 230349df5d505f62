"""Fuzzing: for any bytes or message, the answer obeys the contract, quotes no contact value, and does no harm.

The examples are the same in every run, unless CONTACTSVC_TEST_FUZZ_EXAMPLES sets their number per RPC.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor import MethodDescriptor
from hypothesis import HealthCheck, Phase, given, note, settings
from hypothesis import strategies as st

from contactsvc.v1 import contact_methods_pb2 as pb
from contactsvc.v1 import contact_methods_pb2_grpc as pb_grpc
from tests.conftest import Api
from tests.examples import examples
from tests.hostile.answers import WatchedLog, call, check_answer, check_record, check_together
from tests.hostile.messages import CLIENTS, SEEDS, Known, as_shown, page_tokens, requests, spoilt_bytes

EXAMPLES_VARIABLE = "CONTACTSVC_TEST_FUZZ_EXAMPLES"
EXAMPLES = examples(default=8, long=40, variable=EXAMPLES_VARIABLE)
METHODS = list(pb.DESCRIPTOR.services_by_name["ContactMethodsService"].methods)
READS = [method for method in METHODS if method.GetOptions().idempotency_level]
PAGED = [method for method in METHODS if "page_token" in method.input_type.fields_by_name]

PROFILE = settings(
    max_examples=EXAMPLES,
    derandomize=EXAMPLES_VARIABLE not in os.environ,
    database=None,
    print_blob=True,
    phases=[phase for phase in Phase if phase is not Phase.explain],
    suppress_health_check=list(HealthCheck),
)


class Target:
    """The server under test, with the same records at the start of every example.

    Failures are therefore reproducible, and Hypothesis can shrink them.
    """

    def __init__(self, channel: grpc.Channel, log: WatchedLog) -> None:
        self._channel = channel
        self._log = log
        self._stub: Any = pb_grpc.ContactMethodsServiceStub(channel)  # type: ignore[no-untyped-call]
        self._known: Known | None = None

    def known(self) -> Known:
        """Return the present records, restored to the initial ones."""
        if self._known is None:
            self._clear()
            self._known = self._seed()
        return self._known

    def send(self, method: MethodDescriptor, raw: bytes) -> None:
        """Send a request, and check the answer, the log and the stored records."""
        note(f"{method.name} {as_shown(raw)}")
        answer = call(self._channel, method, raw)
        self._log.check()
        check_answer(method, answer)
        if method not in READS and answer.responses:
            self._known = None
            self.check_records()

    def check_records(self) -> None:
        """Check every stored record, and that each lookup finds it."""
        records = self._records()
        check_together(records)
        for record in records:
            check_record(record)
            self._check_found(record)

    def _check_found(self, record: pb.ContactMethod) -> None:
        got = self._stub.GetContactMethod(pb.GetContactMethodRequest(id=record.id)).contact_method
        assert got == record
        if record.HasField("external_id"):
            by_external_id = pb.GetContactMethodByExternalIdRequest(external_id=record.external_id)
            assert self._stub.GetContactMethodByExternalId(by_external_id).contact_method == record
        asked = pb.ContactMethodFilter(
            ids=[record.id],
            client_ids=[record.client_id],
            types=[record.type],
            values=[record.value],
            value_contains=record.value,
            is_primary=record.is_primary,
            metadata=record.metadata,
            labels=[record.label] if record.HasField("label") else [],
        )
        found = self._stub.ListContactMethods(pb.ListContactMethodsRequest(filter=asked)).contact_methods
        assert list(found) == [record]

    def _records(self) -> list[pb.ContactMethod]:
        pages = self._stub.StreamContactMethods(pb.StreamContactMethodsRequest())
        return [record for page in pages for record in page.contact_methods]

    def _clear(self) -> None:
        ids = [record.id for record in self._records()]
        for start in range(0, len(ids), 250):
            self._stub.BatchDeleteContactMethods(pb.BatchDeleteContactMethodsRequest(ids=ids[start : start + 250]))

    def _seed(self) -> Known:
        targets = [("ana@example.com", 1), ("+52 55 1234 5678", 2), ("@ana", 4)]
        wanted = [
            pb.CreateContactMethodRequest(
                client_id=CLIENTS[number % 2],
                type=targets[number % 3][1],  # type: ignore[arg-type]
                value=targets[number % 3][0],
                is_primary=number < 4,
                external_id=f"x{number}" if number % 2 else None,
                metadata={"k": targets[number % 3][0], "a.b": str(number)},
            )
            for number in range(SEEDS)
        ]
        made = self._stub.BatchCreateContactMethods(pb.BatchCreateContactMethodsRequest(requests=wanted))
        records = [result.contact_method for result in made.results]
        first_page = self._stub.ListContactMethods(pb.ListContactMethodsRequest(page_size=1))
        newest_first = [pb.ContactMethodSort(field=pb.CONTACT_METHOD_SORT_FIELD_UPDATED_AT, descending=True)]
        sorted_page = self._stub.ListContactMethods(pb.ListContactMethodsRequest(page_size=1, sort=newest_first))
        of_client = self._stub.ListClientContactMethods(
            pb.ListClientContactMethodsRequest(client_id=CLIENTS[0], page_size=1)
        )
        return Known(
            ids=tuple(record.id for record in records),
            etags=tuple(record.etag for record in records),
            external_ids=tuple(record.external_id for record in records if record.external_id),
            page_tokens=tuple(page.next_page_token for page in (first_page, sorted_page, of_client)),
        )


@contextmanager
def under_fuzz(address: str) -> Iterator[Target]:
    with WatchedLog() as log, grpc.insecure_channel(address) as channel:
        target = Target(channel, log)
        yield target
        # The server still answers, and its records are valid.
        target.check_records()
        log.check()


async def fuzz(api: Api, method: MethodDescriptor, draw: Callable[[st.DataObject, Known], bytes]) -> None:
    """Send many drawn requests to a method."""

    def run() -> None:
        with under_fuzz(api.target) as target:

            @PROFILE
            @given(data=st.data())
            def send_one(data: st.DataObject) -> None:
                target.send(method, draw(data, target.known()))

            send_one()

    # Hypothesis blocks, so it runs in a thread; the server stays in the event loop of the suite.
    await asyncio.to_thread(run)


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
async def test_bytes_of_any_kind(hostile_api: Api, method: MethodDescriptor) -> None:
    await fuzz(hostile_api, method, lambda data, known: data.draw(spoilt_bytes(method.input_type, known)))


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
async def test_messages_of_any_kind(hostile_api: Api, method: MethodDescriptor) -> None:
    def draw(data: st.DataObject, known: Known) -> bytes:
        raw: bytes = data.draw(requests(method.input_type, known)).SerializeToString()
        return raw

    await fuzz(hostile_api, method, draw)


@pytest.mark.parametrize("method", PAGED, ids=lambda method: method.name)
async def test_page_tokens_of_any_kind(hostile_api: Api, method: MethodDescriptor) -> None:
    def draw(data: st.DataObject, known: Known) -> bytes:
        request: Any = pb.__dict__[method.input_type.name](page_token=data.draw(page_tokens(known)))
        if "client_id" in method.input_type.fields_by_name:
            request.client_id = CLIENTS[0]
        elif data.draw(st.booleans()):
            request.sort.add(field=pb.CONTACT_METHOD_SORT_FIELD_UPDATED_AT, descending=True)
        raw: bytes = request.SerializeToString()
        return raw

    await fuzz(hostile_api, method, draw)
