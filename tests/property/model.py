"""The rules of the contract once more, as plainly as they can be put: a second opinion on the service.

Nothing here comes from the service but the messages. A `World` is a dict of records by id, oldest first; a write is a
function that changes a copy of it and returns what the caller is to hear. Ids of new records are not known beforehand:
they are called `new-0`, `new-1`, ... and get their names from the response. Paths in faults start at
the request or at its item.

Where the contract allows several outcomes, the prediction is made in each of them (`Choices`), or says so (`Faults` are
alternatives, `Refused` and `Synced` have bounds).
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from contactsvc.v1 import contact_methods_pb2 as pb

T = TypeVar("T")
Slot = tuple[str, int]

EMAIL, PHONE, FAX, OTHER = (
    pb.CONTACT_METHOD_TYPE_EMAIL,
    pb.CONTACT_METHOD_TYPE_PHONE,
    pb.CONTACT_METHOD_TYPE_FAX,
    pb.CONTACT_METHOD_TYPE_OTHER,
)

# What is not in the table of a type is no value of that type.
_NUMBERS = {
    "+52 55 1234 5678": "+525512345678",
    "+52 1 55 1234 5678": "+525512345678",
    "+14155550100": "+14155550100",
}
_ADDRESSES = {"ana@example.com": "ana@example.com", "Ana@Example.COM": "ana@example.com", "bo@x.test": "bo@x.test"}
_HANDLES = {"nonsense": "nonsense", "Cafe\u0301": "Caf\u00e9", "Caf\u00e9": "Caf\u00e9"}
NORMALIZED: dict[int, dict[str, str]] = {
    EMAIL: _ADDRESSES,
    PHONE: _NUMBERS,
    FAX: _NUMBERS,
    OTHER: _HANDLES | {text: text for text in (*_ADDRESSES, *_NUMBERS)},
}

_METADATA_KEY = re.compile(r"[A-Za-z0-9_.:-]{1,40}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What a caller can say about a contact method."""

    client_id: str
    type: int
    value: str
    label: str | None
    is_primary: bool
    external_id: str | None
    metadata: dict[str, str]

    @property
    def normalized(self) -> str:
        return NORMALIZED[self.type][self.value]

    @property
    def slot(self) -> Slot:
        return self.client_id, self.type


@dataclass(frozen=True, slots=True)
class Fault:
    """A reason why a write fails; `fields` are compared for INVALID_FIELD only."""

    reason: str
    fields: frozenset[str] = frozenset()
    existing_id: str | None = None


Faults = tuple[Fault, ...]
"""What is wrong with a write; which of them the caller hears of is open."""


@dataclass(frozen=True, slots=True)
class Done:
    """A write that succeeds."""

    id: str
    demoted: tuple[str, ...] = ()
    action: int = pb.UPSERT_ACTION_UNSPECIFIED
    promoted: str | None = None


Outcome = Done | Faults


@dataclass(frozen=True, slots=True)
class Refused:
    """A batch of which nothing is applied: the error names all items in `at_least` and none outside of `faults`."""

    faults: dict[int, Faults]
    at_least: frozenset[int]


@dataclass(frozen=True, slots=True)
class Synced:
    """A sync that succeeds.

    Attributes:
        created: in the order of the items.
        matched: the records of the other items, in their order, and whether each is among the updated ones.
        deleted: the records deleted.
        missing: ids of items that delete what is not there; whether they are listed is open.
        demoted: the records that lost their flag.
    """

    created: list[str]
    matched: list[tuple[str, bool]]
    deleted: set[str]
    missing: set[str]
    demoted: set[str]


@dataclass(frozen=True, slots=True)
class Erased:
    """An erasure."""

    count: int


Expected = Done | Faults | list[Outcome] | Refused | Synced | Erased


@dataclass
class World:
    """Records by id, oldest first, their etags before the write, and which of them it has changed by naming them."""

    records: dict[str, Record] = field(default_factory=dict)
    etags: dict[str, str] = field(default_factory=dict)
    touched: set[str] = field(default_factory=set)
    made: int = 0

    def copy(self) -> World:
        return World(dict(self.records), self.etags, set(self.touched), self.made)

    def primary(self, slot: Slot) -> str | None:
        return next((id_ for id_, record in self.records.items() if record.is_primary and record.slot == slot), None)

    def holder(self, external_id: str | None) -> str | None:
        if not external_id:
            return None
        return next((id_ for id_, record in self.records.items() if record.external_id == external_id), None)

    def put(self, id_: str, record: Record) -> tuple[str, ...]:
        """Write a record; if it is primary, take the flag from whoever has it, and return whom it was taken from."""
        demoted: tuple[str, ...] = ()
        rival = self.primary(record.slot) if record.is_primary else None
        if rival is not None and rival != id_:
            self.records[rival] = replace(self.records[rival], is_primary=False)
            demoted = (rival,)
        self.records[id_] = record
        self.touched.add(id_)
        return demoted


class Choices:
    """Answers the questions that the contract leaves open in one of the possible ways."""

    def __init__(self, script: Sequence[int]) -> None:
        self._script = script
        self.taken: list[tuple[int, int]] = []

    def one_of(self, options: Sequence[T]) -> T:
        position = len(self.taken)
        choice = self._script[position] if position < len(self._script) else 0
        self.taken.append((choice, len(options)))
        return options[choice]


def every_way(predict: Callable[[Choices], T]) -> Iterator[T]:
    """Yield the prediction for each combination of answers."""
    script: list[int] = []
    while True:
        choices = Choices(script)
        yield predict(choices)
        taken = choices.taken
        while taken and taken[-1][0] + 1 == taken[-1][1]:
            taken.pop()
        if not taken:
            return
        script = [choice for choice, _ in taken]
        script[-1] += 1


def problems_of(request: Any, *, in_batch: bool = False) -> frozenset[str]:
    """Return the paths of the fields that break their rules, as far as that can be told without any record."""
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


def create(world: World, request: pb.CreateContactMethodRequest) -> Outcome:
    """Create a record."""
    pairs = dict(request.metadata)
    label, external_id = request.label or None, request.external_id or None
    return _insert(world, request.client_id, request, label, external_id, pairs)


def update(world: World, request: pb.UpdateContactMethodRequest) -> Outcome:
    """Change a record."""
    return _change(world, request.id, request)


def upsert(world: World, request: pb.UpsertContactMethodRequest) -> Outcome:
    """Create a record or change it."""
    holder = world.holder(request.external_id)
    if holder is None:
        if request.etag:
            return (Fault("ETAG_MISMATCH"),)
        pairs = {key: value for key, value in request.metadata.items() if value}
        done = _insert(world, request.client_id, request, request.label or None, request.external_id, pairs)
        return replace(done, action=pb.UPSERT_ACTION_CREATED) if isinstance(done, Done) else done
    if world.records[holder].client_id != request.client_id:
        # With a wrong etag as well, either may be said.
        taken = Fault("EXTERNAL_ID_TAKEN", existing_id=holder)
        return (taken, Fault("ETAG_MISMATCH")) if request.etag else (taken,)
    before = world.records[holder]
    done = _change(world, holder, request)
    if not isinstance(done, Done):
        return done
    unchanged = world.records[holder] == before
    return replace(done, action=pb.UPSERT_ACTION_UNCHANGED if unchanged else pb.UPSERT_ACTION_UPDATED)


def delete(world: World, request: pb.DeleteContactMethodRequest) -> Outcome:
    """Delete a record."""
    present = world.records.get(request.id)
    if present is None:
        return Done(request.id) if request.allow_missing else (Fault("CONTACT_METHOD_NOT_FOUND"),)
    faults = _etag_faults(world, request.id, request.etag)
    if present.is_primary and request.on_primary == pb.PRIMARY_DELETE_POLICY_REJECT:
        faults += (Fault("PRIMARY_REJECTED"),)
    if faults:
        return faults
    del world.records[request.id]
    heir = None
    if present.is_primary and request.on_primary == pb.PRIMARY_DELETE_POLICY_PROMOTE_NEXT:
        # None is ever verified here, so the oldest it is.
        heir = next((id_ for id_, record in world.records.items() if record.slot == present.slot), None)
    if heir is not None:
        world.put(heir, replace(world.records[heir], is_primary=True))
    return Done(request.id, promoted=heir)


def batch(
    world: World,
    items: Sequence[Any],
    apply: Callable[[World, Any], Outcome],
    choices: Choices,
    *,
    partial: bool,
) -> tuple[World, Expected]:
    """Apply several creates, updates or upserts."""
    broken: dict[int, Faults] = {
        position: (_invalid(f"requests[{position}]", *problems),)
        for position, item in enumerate(items)
        if (problems := problems_of(item, in_batch=True))
    }
    after, outcomes = _in_order(world, items, apply, broken, choices, "requests")
    faults = {position: outcome for position, outcome in enumerate(outcomes) if not isinstance(outcome, Done)}
    if partial or not faults:
        return after, outcomes
    # Also those whose fault shows only against the records, when others are wrong by themselves.
    return world, Refused(faults, frozenset(faults))


def batch_delete(world: World, request: pb.BatchDeleteContactMethodsRequest) -> tuple[World, Expected]:
    """Delete several records."""
    after = world.copy()
    outcomes: list[Outcome] = [
        delete(after, pb.DeleteContactMethodRequest(id=id_)) if id_ else (_invalid(f"ids[{position}]"),)
        for position, id_ in enumerate(request.ids)
    ]
    faults = {position: outcome for position, outcome in enumerate(outcomes) if not isinstance(outcome, Done)}
    if request.partial or not faults:
        return after, outcomes
    at_least = frozenset(faults)
    # Of an id that occurs twice, both places may be named.
    for position, id_ in enumerate(request.ids):
        if list(request.ids).count(id_) > 1:
            faults.setdefault(position, (Fault("CONTACT_METHOD_NOT_FOUND"),))
    return world, Refused(faults, at_least)


def erase(world: World, request: pb.EraseClientContactMethodsRequest) -> tuple[World, Expected]:
    """Delete all records of a client."""
    after = world.copy()
    after.records = {id_: record for id_, record in world.records.items() if record.client_id != request.client_id}
    return after, Erased(len(world.records) - len(after.records))


def sync(world: World, request: pb.SyncClientContactMethodsRequest, choices: Choices) -> tuple[World, Expected]:
    """Make the records of a client what the items say."""
    items = list(request.items)
    if request.replace and not items and not request.allow_empty_replace:
        return world, (Fault("INVALID_FIELD", frozenset({"items"})),)
    if broken := frozenset(f"items[{i}].{name}" for i, item in enumerate(items) for name in problems_of(item)):
        return world, (Fault("INVALID_FIELD", broken),)
    matches, unmatched, doubled, deletions = _matches(world, request)
    after = world.copy()
    deleted = set(deletions)
    for id_, position in deletions.items():
        if faults := _etag_faults(world, id_, items[position].etag):
            unmatched[position] = faults
    for position, item in enumerate(items):
        # An etag says that the record must be there, `delete` that it need not be: either may win.
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

    def write(at_hand: World, position: int) -> Outcome:
        item = items[position]
        if position in matches:
            return _change(at_hand, matches[position], item)
        if item.etag:
            return (Fault("ETAG_MISMATCH"),)
        pairs = {key: value for key, value in item.metadata.items() if value}
        return _insert(at_hand, request.client_id, item, item.label or None, item.external_id or None, pairs)

    def claim(at_hand: World, position: int) -> Slot | None:
        return (request.client_id, items[position].type) if items[position].is_primary else None

    after, outcomes = _in_order(after, positions, write, unmatched, choices, "items", claim)
    at_fault = {**unmatched}
    at_fault |= {p: o for p, o in zip(positions, outcomes, strict=True) if not isinstance(o, Done)}
    if at_fault:
        # Of two items that mean one record, both may be named.
        for position in doubled:
            at_fault.setdefault(position, (_invalid(f"items[{position}]"),))
        return world, Refused(at_fault, frozenset())
    done = {
        position: outcome.id for position, outcome in zip(positions, outcomes, strict=True) if isinstance(outcome, Done)
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
        demoted={id_ for outcome in outcomes if isinstance(outcome, Done) for id_ in outcome.demoted},
    )


def _matches(
    world: World, request: pb.SyncClientContactMethodsRequest
) -> tuple[dict[int, str], dict[int, Faults], set[int], dict[str, int]]:
    """Return which records items write, what is wrong with items, which mean the same, and what items delete."""
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
            # An item by external id that deletes nothing describes a record whose external id is taken.
            described = not item.HasField("id") and not item.delete
            reason = "EXTERNAL_ID_TAKEN" if described else "CONTACT_METHOD_NOT_FOUND"
            wrong[position] = (Fault(reason, existing_id=found if described else None),)
        elif found in taken():
            wrong[position] = (Fault("INVALID_FIELD", frozenset({f"items[{position}]"})),)
            doubled |= {position, taken()[found]}
        else:
            take(position, found)
    for position, item in enumerate(request.items):
        # An item that deletes what has an external id means that record or none: "one that does not exist counts as
        # deleted".
        if item.HasField("id") or (item.delete and item.external_id) or position in matches or position in wrong:
            continue
        if position in deletions.values():
            continue
        candidates = [
            id_
            for id_, record in world.records.items()
            if record.slot == (request.client_id, item.type)
            and record.normalized == NORMALIZED[item.type][item.value.strip()]
            and id_ not in taken()
        ]
        for id_ in candidates if item.delete else candidates[:1]:
            take(position, id_)
    return matches, wrong, doubled, deletions


def _in_order(
    world: World,
    items: Sequence[Any],
    apply: Callable[[World, Any], Outcome],
    broken: dict[int, Faults],
    choices: Choices,
    path: str,
    claim_of: Callable[[World, Any], Slot | None] | None = None,
) -> tuple[World, list[Outcome]]:
    """Apply the items one after the other, except for those that are broken or claim what another one claims.

    Whether an item claims a slot that it fails to take for another reason is open.
    """
    claim_of = claim_of or _claim_of
    numbers = {position: item if path == "items" else position for position, item in enumerate(items)}
    failures_claim = choices.one_of([True, False]) if len(items) > 1 else True
    rivals: set[int] = set()
    while True:
        after = world.copy()
        outcomes: list[Outcome] = []
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
                if claim is not None and (failures_claim or isinstance(outcome, Done)):
                    claims[claim].append(number)
        found = {number for group in claims.values() if len(group) > 1 for number in group}
        if not found:
            return after, outcomes
        rivals |= found


def _claim_of(world: World, item: Any) -> Slot | None:
    """Return the slot that an item asks for by name."""
    if not item.is_primary:
        return None
    if not isinstance(item, pb.UpdateContactMethodRequest):
        return item.client_id, item.type
    present = world.records.get(item.id)
    if present is None:
        return None
    return present.client_id, item.type if item.HasField("type") else present.type


def _insert(
    world: World,
    client_id: str,
    request: Any,
    label: str | None,
    external_id: str | None,
    metadata: dict[str, str],
) -> Outcome:
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
    return Done(id_, world.put(id_, record))


def _change(world: World, id_: str, request: Any) -> Outcome:
    """Change a record to what an update, an upsert or an item of a sync says."""
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

    faults = _etag_faults(world, id_, request.etag)
    if world.holder(after.external_id) not in {None, id_}:
        faults += (Fault("EXTERNAL_ID_TAKEN", existing_id=world.holder(after.external_id)),)
    if after.value not in NORMALIZED[after.type]:
        # The value and the type do not go together; either may be called wrong.
        faults += (_invalid("value"), _invalid("type"))
    if faults:
        return faults
    if after == before:
        return Done(id_)
    return Done(id_, world.put(id_, after))


def _etag_faults(world: World, id_: str, etag: str) -> Faults:
    """Return what is wrong when the record has another etag: its own, unless an item of this very batch has changed it.

    That another item has taken its primary flag does not count.
    """
    if not etag or (etag == world.etags.get(id_) and id_ not in world.touched):
        return ()
    return (Fault("ETAG_MISMATCH"),)


def _has_changed(before: World, after: World, id_: str) -> bool:
    return before.records[id_] != after.records[id_]


def _contradictions(request: pb.SyncClientContactMethodsRequest) -> dict[int, set[int]]:
    """Return the items that name what another one names as well, or delete a value that another one writes."""

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


def _invalid(path: str, *names: str) -> Fault:
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
