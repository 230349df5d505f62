"""Strategies for requests with few clients, values, external ids and types, so that requests collide often."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from hypothesis import strategies as st

from contactsvc.v1 import contact_methods_pb2 as pb
from tests.property.world import EMAIL, NORMALIZED, OTHER, PHONE

CLIENTS = ["c1", "c2"]
TYPES = [EMAIL, OTHER, PHONE]
VALUES = ["ana@example.com", "Ana@Example.COM", "+52 55 1234 5678", "+52 1 55 1234 5678", " Caf\u00e9", "Cafe\u0301"]
EXTERNAL_IDS = ["x1", "x2", "x3"]
KEYS = ["k", "m"]
WRONG_ETAG = "0123456789abcdef"
NOWHERE = "contact_00000000000000000000000000"

# One client more often than the other, so that its records compete for the primary slot.
_clients = st.sampled_from([CLIENTS[0], CLIENTS[0], CLIENTS[0], CLIENTS[1]])
_types = st.sampled_from(TYPES)
_policies = st.sampled_from([*pb.PrimaryDeletePolicy.values(), pb.PRIMARY_DELETE_POLICY_PROMOTE_NEXT])
_flags = st.sampled_from([True, True, False])
_fitting = st.sampled_from(
    [{"type": type_, "value": value} for type_ in TYPES for value in VALUES if value.strip() in NORMALIZED[type_]]
)
_labels = st.sampled_from(["Home", "Work", ""])
_metadata = st.dictionaries(st.sampled_from(KEYS), st.sampled_from(["1", "2"]), max_size=2)
_metadata_change = st.dictionaries(st.sampled_from(KEYS), st.sampled_from(["1", "2", ""]), max_size=2)
_external_ids = st.sampled_from(EXTERNAL_IDS)
_seldom = st.sampled_from([False] * 15 + [True])
_often = st.sampled_from([True, True, False])

_new = st.fixed_dictionaries(
    {"client_id": _clients, "target": _fitting},
    optional={"label": _labels, "is_primary": _flags, "external_id": _external_ids, "metadata": _metadata},
)
_described = {"label": _labels, "is_primary": _flags, "metadata": _metadata_change}
_upserted = st.fixed_dictionaries(
    {"client_id": _clients, "target": _fitting, "external_id": _external_ids}, optional=_described
)
_changes = st.fixed_dictionaries(
    {},
    optional={
        "type": _types,
        "value": st.sampled_from(VALUES),
        "external_id": st.sampled_from([*EXTERNAL_IDS, ""]),
        **_described,
    },
)
_removals = st.sampled_from([{}, {}, {"remove_metadata_keys": ["k"]}, {"replace_metadata": True}])
_synced = st.fixed_dictionaries(
    {"target": _fitting}, optional={**_described, "external_id": st.sampled_from([*EXTERNAL_IDS, ""])}
)


class Requests:
    """Draws requests.

    Args:
        draw: draws from a strategy.
        records: the present records.
        gone: ids of some deleted records.
    """

    def __init__(self, draw: Any, records: Collection[pb.ContactMethod], gone: Sequence[str]) -> None:
        self._draw = draw
        self._records = records
        self._etags = {record.id: record.etag for record in records}
        self._primaries = [record.id for record in records if record.is_primary]
        self._ids = [*self._etags, NOWHERE, *gone]

    def create(self) -> pb.CreateContactMethodRequest:
        fields = self._draw(_new)
        request = pb.CreateContactMethodRequest(**fields.pop("target"), **fields)
        if self._draw(_seldom):
            flaw = self._draw(
                st.sampled_from([{"external_id": ""}, {"client_id": ""}, {"metadata": {"k": ""}}, *_FLAWS])
            )
            request.MergeFrom(pb.CreateContactMethodRequest(**flaw))
            _clear(request, flaw)
        return request

    def update(self) -> pb.UpdateContactMethodRequest:
        id_ = self.id()
        fields = self._draw(_changes) | self._draw(_removals)
        request = pb.UpdateContactMethodRequest(id=id_, etag=self.etag(id_), **fields)
        if self._draw(_seldom):
            flaw = self._draw(st.sampled_from([{"id": ""}, {"value": ""}, *_FLAWS]))
            request.MergeFrom(pb.UpdateContactMethodRequest(**flaw))
            _clear(request, flaw)
        return request

    def upsert(self) -> pb.UpsertContactMethodRequest:
        fields = self._draw(_upserted)
        request = pb.UpsertContactMethodRequest(**fields.pop("target"), **fields, etag=self.any_etag())
        if self._draw(_seldom):
            flaw = self._draw(st.sampled_from([{"external_id": ""}, {"client_id": ""}, *_FLAWS]))
            request.MergeFrom(pb.UpsertContactMethodRequest(**flaw))
            _clear(request, flaw)
        return request

    def delete(self) -> pb.DeleteContactMethodRequest:
        id_ = self.id()
        return pb.DeleteContactMethodRequest(
            id=id_,
            allow_missing=self._draw(st.booleans()),
            on_primary=self._draw(_policies),
            etag=self.etag(id_),
        )

    def sync(self) -> pb.SyncClientContactMethodsRequest:
        client_id = self._draw(_clients)
        items = [self.sync_item(client_id) for _ in range(self._draw(st.integers(0, 4)))]
        return pb.SyncClientContactMethodsRequest(
            client_id=client_id,
            items=items,
            replace=self._draw(st.booleans()),
            allow_empty_replace=self._draw(st.booleans()),
        )

    def sync_item(self, client_id: str) -> pb.SyncItem:
        fields = self._draw(_synced)
        target = fields.pop("target")
        id_ = None
        if self._draw(st.sampled_from([False, True])):
            own = [record.id for record in self._records if record.client_id == client_id]
            id_ = self._draw(st.sampled_from(own)) if own and not self._draw(_seldom) else self.id()
        etag = self.etag(id_) if id_ is not None else self.any_etag()
        if self._draw(st.sampled_from([False, False, False, True])):
            named = id_ is not None or fields.get("external_id")
            fields = {"external_id": fields["external_id"]} if "external_id" in fields else {}
            return pb.SyncItem(delete=True, id=id_, etag=etag, **({} if named else target), **fields)
        item = pb.SyncItem(id=id_, etag=etag, **target, **fields)
        if self._draw(_seldom):
            flaw = self._draw(st.sampled_from([{"id": ""}, {"value": ""}, *_FLAWS]))
            item.MergeFrom(pb.SyncItem(**flaw))
            _clear(item, flaw)
        return item

    def batch_create(self) -> pb.BatchCreateContactMethodsRequest:
        return pb.BatchCreateContactMethodsRequest(requests=self._items(self.create), partial=self._partial())

    def batch_update(self) -> pb.BatchUpdateContactMethodsRequest:
        return pb.BatchUpdateContactMethodsRequest(requests=self._items(self.update), partial=self._partial())

    def batch_upsert(self) -> pb.BatchUpsertContactMethodsRequest:
        return pb.BatchUpsertContactMethodsRequest(requests=self._items(self.upsert), partial=self._partial())

    def batch_delete(self) -> pb.BatchDeleteContactMethodsRequest:
        ids = self._items(lambda: "" if self._draw(_seldom) else self.id())
        return pb.BatchDeleteContactMethodsRequest(ids=ids, partial=self._partial())

    def erase(self) -> pb.EraseClientContactMethodsRequest:
        return pb.EraseClientContactMethodsRequest(client_id=self._draw(_clients))

    def id(self) -> str:
        """Draw an id, mostly of a present record, often of a primary."""
        if self._primaries and self._draw(st.booleans()):
            primary: str = self._draw(st.sampled_from(self._primaries))
            return primary
        known = self._draw(_often) and self._etags
        id_: str = self._draw(st.sampled_from([*self._etags] if known else self._ids))
        return id_

    def etag(self, id_: str) -> str:
        """Draw no etag, the right one, or a wrong one."""
        right = self._etags.get(id_, WRONG_ETAG)
        etag: str = self._draw(st.sampled_from(["", "", "", "", "", right, right, WRONG_ETAG]))
        return etag

    def any_etag(self) -> str:
        """Draw no etag, or rarely that of some record."""
        if not self._draw(_seldom):
            return ""
        return self.etag(self.id())

    def _items(self, make: Any) -> list[Any]:
        items = []
        for _ in range(self._draw(st.integers(1, 4))):
            item = make()
            if not isinstance(item, str) and self._draw(_seldom) and self._draw(_seldom):
                item.request_id = "inside"
            items.append(item)
        return items

    def _partial(self) -> bool:
        partial: bool = self._draw(st.booleans())
        return partial


_FLAWS: list[dict[str, Any]] = [
    {"label": "x" * 101},
    {"metadata": {"no spaces": "1"}},
    {"type": 9},
    {"value": "nonsense"},
]


def _clear(request: Any, flaw: dict[str, Any]) -> None:
    """Set the empty strings that MergeFrom ignores, since fields without presence cannot carry them."""
    for name, value in flaw.items():
        if value == "":
            setattr(request, name, "")
