"""The rules, each a function from evidence to violations."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from itertools import accumulate
from typing import Any

from tests.robustness.checker import attacks
from tests.robustness.checker.evidence import EVERYONE, Evidence, Happened, Life, Operation, Register
from tests.robustness.checker.violation import Violation
from tests.robustness.checker.zones import Cover, Sighting, clashes, zones_of
from tests.robustness.history import Call, CallOutcome, History, Kind, Slot, State

Rule = Callable[[Evidence], Iterator[Violation]]


def check(history: History) -> list[Violation]:
    """Return the violations in a history."""
    evidence = Evidence(history)
    return [
        *(violation for rule in RULES for violation in rule(evidence)),
        *(violation for rule in ATTACK_RULES for violation in rule(history)),
    ]


def one_state_per_etag(evidence: Evidence) -> Iterator[Violation]:
    """An etag changes if and only if its record does."""
    seen: dict[str, tuple[State, Call]] = {}
    for call, state in evidence.sightings():
        known, first = seen.setdefault(state.etag, (state, call))
        if known != state:
            yield Violation("two states of one etag", f"{state.id} with etag {state.etag}", [first, call])


def no_stale_record(evidence: Evidence) -> Iterator[Violation]:
    """A record is a register: a read after an acknowledged write returns that write or a later one."""
    yield from _clashes("stale read", evidence.etags, "record")


def no_lost_label(evidence: Evidence) -> Iterator[Violation]:
    """A change of one field does not undo an earlier change of another field."""
    yield from _clashes("lost update", evidence.labels, "label of record")
    yield from _clashes("lost update", evidence.notes, "note of record")


def one_primary(evidence: Evidence) -> Iterator[Violation]:
    """A client never has two primaries of one type at the same time."""
    yield from _clashes("two primaries", evidence.primaries, "slot")
    for call in _read_together(evidence):
        holders: dict[Slot, str] = {}
        for state in call.seen:
            if state.is_primary and holders.setdefault(state.slot, state.id) != state.id:
                what = f"slot {state.slot}: {holders[state.slot]} and {state.id}"
                yield Violation("two primaries", what, [call])


def one_holder_of_an_external_id(evidence: Evidence) -> Iterator[Violation]:
    """Two records never have the same external id at the same time."""
    yield from _clashes("external id shared", evidence.external_ids, "external id")
    for call in _read_together(evidence):
        holders: dict[str, str] = {}
        for state in call.seen:
            if state.external_id and holders.setdefault(state.external_id, state.id) != state.id:
                what = f"external id {state.external_id}: {holders[state.external_id]} and {state.id}"
                yield Violation("external id shared", what, [call])


def nothing_vanishes(evidence: Evidence) -> Iterator[Violation]:
    """A record exists until it is deleted."""
    for call in evidence.calls:
        for id_ in call.absent:
            if (life := evidence.lives.get(id_)) is not None and _is_missed(life, call.began, call.ended):
                yield _missing(id_, life, call)
    complete: defaultdict[str, list[Call]] = defaultdict(list)
    for call in evidence.calls:
        if call.complete and call.outcome is CallOutcome.OK:
            complete[call.complete].append(call)
    began = {client_id: [call.began for call in calls] for client_id, calls in complete.items()}
    names = {call.number: {state.id for state in call.seen} for calls in complete.values() for call in calls}
    for id_, life in evidence.lives.items():
        for client_id in (life.client_id, EVERYONE):
            calls = complete.get(client_id, [])
            for call in calls[bisect_left(began.get(client_id, []), life.first.ended) :]:
                if call.began > max(life.last.began, life.gone_from):
                    break
                if id_ not in names[call.number] and _is_missed(life, call.began, call.ended):
                    yield _missing(id_, life, call)


def nothing_comes_back(evidence: Evidence) -> Iterator[Violation]:
    """A deleted record is never returned again."""
    for call in evidence.calls:
        if call.outcome is not CallOutcome.OK:
            continue
        deleted = {*call.deleted}
        deleted |= {
            change.id
            for position, change in enumerate(call.changes)
            if change.kind is Kind.DELETE and change.id and position not in call.refused
        }
        for id_ in deleted:
            if (life := evidence.lives.get(id_)) is not None and life.last.began > call.ended:
                yield Violation("deleted record seen", id_, [call, life.last.call])
    erased: defaultdict[str, list[Operation]] = defaultdict(list)
    for operation in evidence.operations.values():
        for _, change in operation.changes:
            if change.kind is Kind.CLEAR and operation.calls[0].rpc.startswith("Erase") and operation.answered:
                erased[change.client_id].append(operation)
    for id_, life in evidence.lives.items():
        for operation in erased.get(life.client_id, ()):
            answer = operation.answered
            assert answer is not None
            if life.first.ended < operation.began and life.last.began > answer.ended:
                yield Violation("deleted record seen", f"{id_} of an erased client", [answer, life.last.call])


def no_vanished_primary(evidence: Evidence) -> Iterator[Violation]:
    """A slot keeps a primary until a call removes it without a replacement."""
    covers = {slot: Cover(zones_of(register)) for slot, register in evidence.primaries.items()}
    seen = {
        slot: sorted((one for sightings in register.values() for one in sightings), key=lambda one: one.ended)
        for slot, register in evidence.primaries.items()
    }
    latest = {slot: _Latest([one.ended for one in ones], ones) for slot, ones in seen.items()}
    vacates = {}
    for client_id, calls in evidence.vacates.items():
        calls.sort(key=lambda call: call.began)
        vacates[client_id] = (
            [call.began for call in calls],
            list(accumulate((call.effect_until for call in calls), max)),
        )
    for call, slot in _vacancies(evidence):
        if slot not in covers:
            continue
        if (zone := covers[slot].around(call.began, call.ended)) is not None:
            yield Violation("vanished primary", f"slot {slot}", [*zone.calls, call])
            continue
        before = latest[slot].before(call.began)
        if before is None:
            continue
        starts, ends = vacates.get(slot[0], ([], []))
        position = bisect_left(starts, call.ended)
        if not position or ends[position - 1] <= before.began:
            yield Violation("vanished primary", f"slot {slot}, vacated by no call", [before.call, call])


def external_ids_are_found(evidence: Evidence) -> Iterator[Violation]:
    """A lookup by external id finds the record that has it."""
    for call in evidence.calls:
        for external_id in call.vacant_external_ids:
            register = evidence.external_ids.get(external_id)
            if register is not None:
                zone = Cover(zones_of(register)).around(call.began, call.ended)
                if zone is not None:
                    yield Violation("external id not found", external_id, [*zone.calls, call])


def nothing_out_of_nothing(evidence: Evidence) -> Iterator[Violation]:
    """Everything returned was written by a call that had begun and did not fail."""
    for call, state in evidence.sightings():
        for mark in {state.label, state.note, state.made} - {""}:
            if mark not in evidence.marks:
                yield Violation("phantom", f"{state.id} has {mark}, written by no call", [call])
                continue
            operation, position = evidence.marks[mark]
            if operation.began > call.ended:
                yield Violation("phantom", f"{state.id} has {mark}, written by a later call", [call, *operation.calls])
            elif operation.happened(position) is Happened.NO:
                what = f"{state.id} has {mark}, written by a failed call"
                yield Violation("phantom", what, [*operation.calls, call])


def one_effect_per_request(evidence: Evidence) -> Iterator[Violation]:
    """A repeated request creates one record, and every answer returns that record."""
    for call in evidence.calls:
        if call.reason == "METADATA_AMBIGUOUS":
            yield Violation("request applied twice", "several records have the mark of one request", [call])
    made: dict[str, tuple[str, Call]] = {}
    for call, state in evidence.sightings():
        if state.made:
            id_, first = made.setdefault(state.made, (state.id, call))
            if id_ != state.id:
                what = f"{state.made} made {id_} and {state.id}"
                yield Violation("request applied twice", what, [first, call])


def one_winner_per_etag(evidence: Evidence) -> Iterator[Violation]:
    """Of two changes with the same etag as a condition, one fails."""
    winners: dict[tuple[str, str], Operation] = {}
    for operation in evidence.operations.values():
        for position, change in operation.changes:
            if not change.etag or not change.mark or operation.happened(position) is not Happened.YES:
                continue
            winner = winners.setdefault((change.id, change.etag), operation)
            if winner is not operation and change.id:
                what = f"{change.id} was changed twice with etag {change.etag} as a condition"
                yield Violation("lost update", what, [*winner.calls, *operation.calls])


def all_or_nothing(evidence: Evidence) -> Iterator[Violation]:
    """An atomic batch with a visible part is applied as a whole."""
    if evidence.final is None:
        return
    seen: dict[str, Call] = {}
    for call, state in evidence.sightings():
        for mark in {state.label, state.note, state.made} - {""}:
            seen.setdefault(mark, call)
    left = {state.id: state for state in evidence.final.seen}
    writers = _writers(evidence)
    for operation in evidence.operations.values():
        changes = operation.changes
        if len(changes) < 2 or not operation.calls[0].atomic:
            continue
        if changes[0][1].kind is Kind.DELETE:
            yield from _half_deleted(evidence, operation, left)
            continue
        proof = next((seen[change.mark] for _, change in changes if change.mark in seen), None)
        if proof is None:
            continue
        for position, change in changes:
            if (
                change.kind not in {Kind.CREATE, Kind.UPDATE}
                or change.mark in seen
                or operation.happened(position) is Happened.NO
            ):
                continue
            if change.kind is Kind.CREATE:
                # Its id was never returned, so no call can have deleted it by id.
                excused = any(call.effect_until > operation.began for call in evidence.clears.get(change.client_id, ()))
            else:
                life = evidence.lives.get(change.id)
                rivals = writers[change.id] + (writers[life.client_id] if life else [])
                excused = change.id not in left or any(
                    other is not operation and other.effect_until > operation.began for other in rivals
                )
            if not excused:
                what = f"of operation {operation.calls[0].operation} {change.mark} is missing"
                yield Violation("half a batch", what, [*operation.calls, proof])


def no_internal_fault(evidence: Evidence) -> Iterator[Violation]:
    """The service never returns INTERNAL.

    The exception is a full disk, for which the embedded database returns an internal error.
    """
    full = [fault for fault in evidence.faults if fault.kind == "full disk"]
    for call in evidence.calls:
        excused = any(fault.began < call.ended and call.began < fault.ended for fault in full)
        if call.reason == "INTERNAL" and not excused:
            yield Violation("internal fault", call.rpc, [call])


RULES: tuple[Rule, ...] = (
    one_state_per_etag,
    no_stale_record,
    no_lost_label,
    one_primary,
    one_holder_of_an_external_id,
    nothing_vanishes,
    nothing_comes_back,
    no_vanished_primary,
    external_ids_are_found,
    nothing_out_of_nothing,
    one_effect_per_request,
    one_winner_per_etag,
    all_or_nothing,
    no_internal_fault,
)

ATTACK_RULES: tuple[Callable[[History], Iterator[Violation]], ...] = (
    attacks.bounded_memory,
    attacks.no_internal_answer,
    attacks.lone_callers_are_served,
)


class _Latest:
    """Among sightings that ended before a time, the one that began last."""

    def __init__(self, ends: list[float], sightings: list[Sighting]) -> None:
        self._ends = ends
        self._latest: list[Sighting] = list(accumulate(sightings, _later))

    def before(self, time: float) -> Sighting | None:
        position = bisect_left(self._ends, time)
        return self._latest[position - 1] if position else None


def _later(one: Sighting, other: Sighting) -> Sighting:
    return other if other.began > one.began else one


def _clashes(rule: str, registers: Mapping[Any, Register], what: str) -> Iterator[Violation]:
    for name, register in registers.items():
        for one, other in clashes(zones_of(register)):
            yield Violation(rule, f"{what} {name}: {one.value} and {other.value}", [*one.calls, *other.calls])


def _read_together(evidence: Evidence) -> Iterator[Call]:
    return (call for call in evidence.calls if call.together and len(call.seen) > 1)


def _is_missed(life: Life, began: float, ended: float) -> bool:
    """Return whether a record that an answer reports as absent must have existed."""
    return began >= life.first.ended and ended < max(life.last.began, life.gone_from)


def _missing(id_: str, life: Life, call: Call) -> Violation:
    last = life.last.call
    return Violation("acknowledged write missing", id_, [life.first.call, *([last] if last is not call else []), call])


def _vacancies(evidence: Evidence) -> Iterator[tuple[Call, Slot]]:
    """Yield the slots without a primary, according to an answer."""
    slots: defaultdict[str, list[Slot]] = defaultdict(list)
    for slot in evidence.primaries:
        slots[slot[0]].append(slot)
    for call in evidence.calls:
        for slot in call.vacant:
            yield call, slot
        if not call.complete or not call.together or call.outcome is not CallOutcome.OK:
            continue
        held = {state.slot for state in call.seen if state.is_primary}
        asked = evidence.primaries if call.complete == EVERYONE else slots[call.complete]
        for slot in asked:
            if slot not in held:
                yield call, slot


def _writers(evidence: Evidence) -> defaultdict[str, list[Operation]]:
    """Return the operations that write marks, by record id, or by client if the request has no record id."""
    writers: defaultdict[str, list[Operation]] = defaultdict(list)
    for operation in evidence.operations.values():
        for _, change in operation.changes:
            if change.mark:
                writers[change.id or change.client_id].append(operation)
    return writers


def _half_deleted(evidence: Evidence, operation: Operation, left: Mapping[str, State]) -> Iterator[Violation]:
    """Report an atomic delete of which one record is gone, through no other call, and another one exists."""
    ids = [change.id for _, change in operation.changes]
    stay = [id_ for id_ in ids if id_ in left and operation.happened(0) is not Happened.NO]
    for id_ in ids:
        life = evidence.lives.get(id_)
        if life is None or id_ in left or not stay:
            continue
        others = [call for call in evidence.deletes[id_] if call.operation != operation.calls[0].operation]
        if not others and not evidence.clears.get(life.client_id):
            yield Violation("half a batch", f"{id_} is deleted and {stay[0]} is not", operation.calls)
            return
