"""A model of the writes: an independent, plain statement of the contract.

Nothing comes from the service but its messages. A write changes a copy of the `World` and returns the prediction.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from contactsvc.v1 import contact_methods_pb2 as pb
from tests.property.field_rules import invalid, problems_of
from tests.property.world import (
    NORMALIZED,
    Choices,
    Erased,
    Expected,
    Fault,
    Faults,
    Record,
    Refused,
    Result,
    Slot,
    Success,
    World,
)


def create(world: World, request: pb.CreateContactMethodRequest) -> Result:
    """Create a record."""
    pairs = dict(request.metadata)
    label, external_id = request.label or None, request.external_id or None
    return insert(world, request.client_id, request, label, external_id, pairs)


def update(world: World, request: pb.UpdateContactMethodRequest) -> Result:
    """Update a record."""
    return change(world, request.id, request)


def upsert(world: World, request: pb.UpsertContactMethodRequest) -> Result:
    """Create or update a record."""
    holder = world.holder(request.external_id)
    if holder is None:
        if request.etag:
            return (Fault("ETAG_MISMATCH"),)
        pairs = {key: value for key, value in request.metadata.items() if value}
        done = insert(world, request.client_id, request, request.label or None, request.external_id, pairs)
        return replace(done, action=pb.UPSERT_ACTION_CREATED) if isinstance(done, Success) else done
    if world.records[holder].client_id != request.client_id:
        # If the etag is wrong, too, either fault may be reported.
        taken = Fault("EXTERNAL_ID_TAKEN", existing_id=holder)
        return (taken, Fault("ETAG_MISMATCH")) if request.etag else (taken,)
    before = world.records[holder]
    done = change(world, holder, request)
    if not isinstance(done, Success):
        return done
    unchanged = world.records[holder] == before
    return replace(done, action=pb.UPSERT_ACTION_UNCHANGED if unchanged else pb.UPSERT_ACTION_UPDATED)


def delete(world: World, request: pb.DeleteContactMethodRequest) -> Result:
    """Delete a record."""
    present = world.records.get(request.id)
    if present is None:
        return Success(request.id) if request.allow_missing else (Fault("CONTACT_METHOD_NOT_FOUND"),)
    faults = etag_faults(world, request.id, request.etag)
    if present.is_primary and request.on_primary == pb.PRIMARY_DELETE_POLICY_REJECT:
        faults += (Fault("PRIMARY_REJECTED"),)
    if faults:
        return faults
    del world.records[request.id]
    heir = None
    if present.is_primary and request.on_primary == pb.PRIMARY_DELETE_POLICY_PROMOTE_NEXT:
        # No record here is verified, so the oldest is next.
        heir = next((id_ for id_, record in world.records.items() if record.slot == present.slot), None)
    if heir is not None:
        world.put(heir, replace(world.records[heir], is_primary=True))
    return Success(request.id, promoted=heir)


def batch(
    world: World,
    items: Sequence[Any],
    apply: Callable[[World, Any], Result],
    choices: Choices,
    *,
    partial: bool,
) -> tuple[World, Expected]:
    """Apply several creates, updates or upserts."""
    broken: dict[int, Faults] = {
        position: (invalid(f"requests[{position}]", *problems),)
        for position, item in enumerate(items)
        if (problems := problems_of(item, in_batch=True))
    }
    after, outcomes = in_order(world, items, apply, broken, choices, "requests")
    faults = {position: outcome for position, outcome in enumerate(outcomes) if not isinstance(outcome, Success)}
    if partial or not faults:
        return after, outcomes
    # Faults that depend on stored records are reported even if other items violate field rules.
    return world, Refused(faults, frozenset(faults))


def batch_delete(world: World, request: pb.BatchDeleteContactMethodsRequest) -> tuple[World, Expected]:
    """Delete several records."""
    after = world.copy()
    outcomes: list[Result] = [
        delete(after, pb.DeleteContactMethodRequest(id=id_)) if id_ else (invalid(f"ids[{position}]"),)
        for position, id_ in enumerate(request.ids)
    ]
    faults = {position: outcome for position, outcome in enumerate(outcomes) if not isinstance(outcome, Success)}
    if request.partial or not faults:
        return after, outcomes
    at_least = frozenset(faults)
    # Of an id that occurs twice, either position may be named.
    for position, id_ in enumerate(request.ids):
        if list(request.ids).count(id_) > 1:
            faults.setdefault(position, (Fault("CONTACT_METHOD_NOT_FOUND"),))
    return world, Refused(faults, at_least)


def erase(world: World, request: pb.EraseClientContactMethodsRequest) -> tuple[World, Expected]:
    """Delete all records of a client."""
    after = world.copy()
    after.records = {id_: record for id_, record in world.records.items() if record.client_id != request.client_id}
    return after, Erased(len(world.records) - len(after.records))


def in_order(
    world: World,
    items: Sequence[Any],
    apply: Callable[[World, Any], Result],
    broken: dict[int, Faults],
    choices: Choices,
    path: str,
    claim_of: Callable[[World, Any], Slot | None] | None = None,
) -> tuple[World, list[Result]]:
    """Apply the items one by one, except for invalid ones and those that claim the same primary as another item.

    The contract leaves open whether an item that fails for another reason counts as a claim.
    """
    claim_of = claim_of or _claim_of
    numbers = {position: item if path == "items" else position for position, item in enumerate(items)}
    failures_claim = choices.one_of([True, False]) if len(items) > 1 else True
    rivals: set[int] = set()
    while True:
        after = world.copy()
        outcomes: list[Result] = []
        claims: defaultdict[Slot, list[int]] = defaultdict(list)
        for position, item in enumerate(items):
            number = numbers[position]
            if number in broken:
                outcomes.append(broken[number])
            elif number in rivals:
                outcomes.append((Fault("INVALID_FIELD", frozenset({f"{path}[{number}].is_primary"})),))
            else:
                claim = claim_of(after, item)
                outcomes.append(outcome := apply(after, item))
                if claim is not None and (failures_claim or isinstance(outcome, Success)):
                    claims[claim].append(number)
        found = {number for group in claims.values() if len(group) > 1 for number in group}
        if not found:
            return after, outcomes
        rivals |= found


def insert(
    world: World,
    client_id: str,
    request: Any,
    label: str | None,
    external_id: str | None,
    metadata: dict[str, str],
) -> Result:
    holder = world.holder(external_id)
    if holder is not None:
        return (Fault("EXTERNAL_ID_TAKEN", existing_id=holder),)
    record = Record(
        client_id=client_id,
        type=request.type,
        value=request.value.strip(),
        label=label,
        is_primary=request.is_primary,
        external_id=external_id,
        metadata=metadata,
    )
    id_ = f"new-{world.made}"
    world.made += 1
    return Success(id_, world.put(id_, record))


def change(world: World, id_: str, request: Any) -> Result:
    """Update a record from an update, an upsert or an item of a sync."""
    before = world.records.get(id_)
    if before is None:
        return (Fault("CONTACT_METHOD_NOT_FOUND"),)
    is_update = isinstance(request, pb.UpdateContactMethodRequest)
    after = before
    if not is_update or request.HasField("type"):
        after = replace(after, type=request.type)
    if not is_update or request.HasField("value"):
        after = replace(after, value=request.value.strip())
    if request.HasField("label"):
        after = replace(after, label=request.label or None)
    if not isinstance(request, pb.UpsertContactMethodRequest) and request.HasField("external_id"):
        after = replace(after, external_id=request.external_id or None)
    replaces = is_update and request.replace_metadata
    pairs = {**({} if replaces else before.metadata), **request.metadata}
    gone = {key for key, value in pairs.items() if not value} | set(request.remove_metadata_keys if is_update else ())
    after = replace(after, metadata={key: value for key, value in pairs.items() if key not in gone})
    if request.HasField("is_primary"):
        after = replace(after, is_primary=request.is_primary)
    elif after.type != before.type and world.primary(after.slot) is not None:
        after = replace(after, is_primary=False)

    faults = etag_faults(world, id_, request.etag)
    if world.holder(after.external_id) not in {None, id_}:
        faults += (Fault("EXTERNAL_ID_TAKEN", existing_id=world.holder(after.external_id)),)
    if after.value not in NORMALIZED[after.type]:
        # The value is invalid for the type; either field may be reported.
        faults += (invalid("value"), invalid("type"))
    if faults:
        return faults
    if after == before:
        return Success(id_)
    return Success(id_, world.put(id_, after))


def etag_faults(world: World, id_: str, etag: str) -> Faults:
    """Return a fault unless the etag is empty or that of the record before the batch.

    An earlier item that names the record changes its etag. One that only demotes it does not count.
    """
    if not etag or (etag == world.etags.get(id_) and id_ not in world.touched):
        return ()
    return (Fault("ETAG_MISMATCH"),)


def _claim_of(world: World, item: Any) -> Slot | None:
    """Return the primary slot that an item claims, if any."""
    if not item.is_primary:
        return None
    if not isinstance(item, pb.UpdateContactMethodRequest):
        return item.client_id, item.type
    present = world.records.get(item.id)
    if present is None:
        return None
    return present.client_id, item.type if item.HasField("type") else present.type
