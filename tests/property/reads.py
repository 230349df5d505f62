"""Reads, each compared with the records of the model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import rule

from contactsvc.v1 import contact_methods_pb2 as pb
from tests.conftest import RpcFailure
from tests.property.answers import CODES
from tests.property.conversation import Conversation
from tests.property.requests import CLIENTS, EXTERNAL_IDS, KEYS, NOWHERE, TYPES, VALUES
from tests.property.world import NORMALIZED, Record, World

_page_sizes = st.sampled_from([1, 2, 3, 7, 200])
_fields = st.sampled_from([pb.CONTACT_METHOD_SORT_FIELD_CREATED_AT, pb.CONTACT_METHOD_SORT_FIELD_UPDATED_AT])
_sorts = st.lists(
    st.builds(pb.ContactMethodSort, field=_fields, descending=st.booleans()),
    max_size=2,
    unique_by=lambda key: key.field,
)


class Reads(Conversation):
    """Every way to read records."""

    @rule(data=st.data())
    def read(self, data: st.DataObject) -> None:
        # A single rule for all reads, so that most steps are writes.
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

    def filtered(self, data: st.DataObject) -> tuple[pb.ContactMethodFilter, list[str]]:
        """Draw a filter, and return it with the ids of the records that match."""
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
            "value_contains": lambda _, record, wanted: _contains(record, wanted),
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
            # Stable with `reverse`, too: equal elements keep their order.
            ordered.sort(key=by, reverse=key.descending)
        return [self.messages[id_] for id_ in ordered]


def _contains(record: Record, part: str) -> bool:
    """Whether the value has this part: literally, an email in any case, a number whatever stands between its digits."""
    if part in record.value:
        return True
    if record.type == pb.CONTACT_METHOD_TYPE_EMAIL:
        return part.lower() in record.normalized
    digits = part.replace(" ", "")
    is_number = record.type in {pb.CONTACT_METHOD_TYPE_PHONE, pb.CONTACT_METHOD_TYPE_FAX}
    return is_number and digits.removeprefix("+").isdecimal() and digits in record.normalized
