"""The rules of single fields, as the contract states them."""

from __future__ import annotations

import re
from typing import Any

from contactsvc.v1 import contact_methods_pb2 as pb
from tests.property.world import NORMALIZED, Fault

_METADATA_KEY = re.compile(r"[A-Za-z0-9_.:-]{1,40}")


def problems_of(request: Any, *, in_batch: bool = False) -> frozenset[str]:
    """Return the paths of the fields that violate a rule, apart from rules that depend on stored records."""
    match request:
        case pb.CreateContactMethodRequest():
            found = _problems_of_target(request)
            if not request.client_id:
                found.add("client_id")
            if request.HasField("external_id") and not request.external_id:
                found.add("external_id")
            found |= _problems_of_pairs(request.metadata, may_be_empty=False)
        case pb.UpsertContactMethodRequest():
            found = _problems_of_target(request) | _problems_of_pairs(request.metadata)
            found |= {name for name in ("client_id", "external_id") if not getattr(request, name)}
        case pb.UpdateContactMethodRequest():
            found = _problems_of_pairs(request.metadata)
            if not request.id:
                found.add("id")
            if request.HasField("type") and request.type not in NORMALIZED:
                found.add("type")
            if request.HasField("value") and not request.value.strip():
                found.add("value")
            if len(request.label) > 100:
                found.add("label")
            if request.remove_metadata_keys and request.replace_metadata:
                found.add("remove_metadata_keys")
            if set(request.remove_metadata_keys) & request.metadata.keys():
                found.add("remove_metadata_keys")
        case pb.SyncItem():
            named = request.HasField("id") or request.external_id
            found = set() if request.delete and named else _problems_of_target(request)
            if not (request.delete and named):
                found |= _problems_of_pairs(request.metadata)
            if request.HasField("id") and not request.id:
                found.add("id")
        case _:
            raise TypeError(type(request).__name__)
    if in_batch and not isinstance(request, pb.SyncItem) and request.request_id:
        found.add("request_id")
    return frozenset(found)


def invalid(path: str, *names: str) -> Fault:
    return Fault("INVALID_FIELD", frozenset(f"{path}.{name}" for name in names) or frozenset({path}))


def _problems_of_target(request: Any) -> set[str]:
    found = set()
    text = request.value.strip()
    if request.type not in NORMALIZED:
        found.add("type")
        if not text:
            found.add("value")
    elif text not in NORMALIZED[request.type]:
        found.add("value")
    if len(request.label) > 100:
        found.add("label")
    return found


def _problems_of_pairs(pairs: Any, *, may_be_empty: bool = True) -> set[str]:
    found = {"metadata" for key in pairs if not _METADATA_KEY.fullmatch(key)}
    if not may_be_empty:
        found |= {f"metadata[{key}]" for key, value in pairs.items() if not value and _METADATA_KEY.fullmatch(key)}
    return found
