"""A model of the sync: which records the items match, and what becomes of them."""

from __future__ import annotations

from contactsvc.v1 import contact_methods_pb2 as pb
from tests.property.field_rules import invalid, problems_of
from tests.property.model import change, etag_faults, in_order, insert
from tests.property.world import (
    NORMALIZED,
    Choices,
    Expected,
    Fault,
    Faults,
    Refused,
    Result,
    Slot,
    Success,
    Synced,
    World,
)


def sync(world: World, request: pb.SyncClientContactMethodsRequest, choices: Choices) -> tuple[World, Expected]:
    """Make the records of a client match the items."""
    items = list(request.items)
    if request.replace and not items and not request.allow_empty_replace:
        return world, (Fault("INVALID_FIELD", frozenset({"items"})),)
    if broken := frozenset(f"items[{i}].{name}" for i, item in enumerate(items) for name in problems_of(item)):
        return world, (Fault("INVALID_FIELD", broken),)
    matches, unmatched, doubled, deletions = _matches(world, request)
    after = world.copy()
    deleted = set(deletions)
    for id_, position in deletions.items():
        if faults := etag_faults(world, id_, items[position].etag):
            unmatched[position] = faults
    for position, item in enumerate(items):
        # An etag requires the record to exist, `delete` does not: either may prevail.
        if (
            item.delete
            and item.etag
            and position not in deletions.values()
            and position not in unmatched
            and choices.one_of([False, True])
        ):
            unmatched[position] = (Fault("ETAG_MISMATCH"),)
    if request.replace:
        kept = {*matches.values(), *deletions}
        deleted |= {i for i, record in world.records.items() if record.client_id == request.client_id and i not in kept}
    for id_ in deleted:
        del after.records[id_]

    positions = [position for position, item in enumerate(items) if not item.delete]

    def write(at_hand: World, position: int) -> Result:
        item = items[position]
        if position in matches:
            return change(at_hand, matches[position], item)
        if item.etag:
            return (Fault("ETAG_MISMATCH"),)
        pairs = {key: value for key, value in item.metadata.items() if value}
        return insert(at_hand, request.client_id, item, item.label or None, item.external_id or None, pairs)

    def claim(at_hand: World, position: int) -> Slot | None:
        return (request.client_id, items[position].type) if items[position].is_primary else None

    after, outcomes = in_order(after, positions, write, unmatched, choices, "items", claim)
    at_fault = {**unmatched}
    at_fault |= {p: o for p, o in zip(positions, outcomes, strict=True) if not isinstance(o, Success)}
    if at_fault:
        # Of two items that match one record, either may be named.
        for position in doubled:
            at_fault.setdefault(position, (invalid(f"items[{position}]"),))
        return world, Refused(at_fault, frozenset())
    done = {
        position: outcome.id
        for position, outcome in zip(positions, outcomes, strict=True)
        if isinstance(outcome, Success)
    }
    return after, Synced(
        created=[id_ for position, id_ in done.items() if position not in matches],
        matched=[(id_, _has_changed(world, after, id_)) for position, id_ in done.items() if position in matches],
        deleted=deleted,
        missing={
            name
            for i, item in enumerate(items)
            if item.delete and i not in deletions.values()
            for name in [item.id]
            if name
        },
        demoted={id_ for outcome in outcomes if isinstance(outcome, Success) for id_ in outcome.demoted},
    )


def _matches(
    world: World, request: pb.SyncClientContactMethodsRequest
) -> tuple[dict[int, str], dict[int, Faults], set[int], dict[str, int]]:
    """Return the records that items write, the faults of items, the items that share a record, and the deletions."""
    contradictions = _contradictions(request)
    doubled = {*contradictions, *(other for others in contradictions.values() for other in others)}
    wrong: dict[int, Faults] = {
        position: (Fault("INVALID_FIELD", frozenset({f"items[{position}]"})),) for position in contradictions
    }
    matches: dict[int, str] = {}
    deletions: dict[str, int] = {}

    def take(position: int, id_: str) -> None:
        if request.items[position].delete:
            deletions[id_] = position
        else:
            matches[position] = id_

    def taken() -> dict[str, int]:
        return {**deletions, **{id_: position for position, id_ in matches.items()}}

    by_name = sorted(enumerate(request.items), key=lambda pair: not pair[1].HasField("id"))
    for position, item in by_name:
        if position in wrong:
            continue
        found = item.id if item.HasField("id") and item.id in world.records else None
        if not item.HasField("id"):
            found = world.holder(item.external_id)
        elif found is None and not item.delete:
            wrong[position] = (Fault("CONTACT_METHOD_NOT_FOUND"),)
        if found is None:
            continue
        if world.records[found].client_id != request.client_id:
            # An item that writes by external id finds that id taken.
            described = not item.HasField("id") and not item.delete
            reason = "EXTERNAL_ID_TAKEN" if described else "CONTACT_METHOD_NOT_FOUND"
            wrong[position] = (Fault(reason, existing_id=found if described else None),)
        elif found in taken():
            wrong[position] = (Fault("INVALID_FIELD", frozenset({f"items[{position}]"})),)
            doubled |= {position, taken()[found]}
        else:
            take(position, found)
    for position, item in enumerate(request.items):
        # A deletion by external id matches that record or none: one that does not exist counts as deleted.
        if item.HasField("id") or (item.delete and item.external_id) or position in matches or position in wrong:
            continue
        if position in deletions.values():
            continue
        candidates = [
            id_
            for id_, record in world.records.items()
            if record.slot == (request.client_id, item.type)
            and record.normalized == NORMALIZED[item.type][item.value.strip()]
            # No other system's record is renamed.
            and (not item.external_id or record.external_id in {None, item.external_id})
            and id_ not in taken()
        ]
        for id_ in candidates if item.delete else candidates[:1]:
            take(position, id_)
    return matches, wrong, doubled, deletions


def _contradictions(request: pb.SyncClientContactMethodsRequest) -> dict[int, set[int]]:
    """Return the items that name the same record as another item, or delete a value that another item writes."""

    def target(item: pb.SyncItem) -> tuple[int, str]:
        return item.type, NORMALIZED[item.type][item.value.strip()]

    found: dict[int, set[int]] = {}
    for position, item in enumerate(request.items):
        by_value = item.delete and not item.HasField("id") and not item.external_id
        for other, another in enumerate(request.items):
            same_id = item.HasField("id") and another.HasField("id") and item.id == another.id
            same_external_id = item.external_id and item.external_id == another.external_id
            if other < position and (same_id or same_external_id):
                found.setdefault(position, set()).add(other)
            if by_value and not another.delete and target(item) == target(another):
                found.setdefault(position, set()).add(other)
    return found


def _has_changed(before: World, after: World, id_: str) -> bool:
    return before.records[id_] != after.records[id_]
