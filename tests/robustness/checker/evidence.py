"""The evidence in a history, sorted by subject."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum, auto
from math import inf

from tests.robustness.checker.zones import Sighting
from tests.robustness.history import Call, CallOutcome, Change, History, Kind, Slot, State, in_order

Register = dict[str, list[Sighting]]
"""The sightings of each value."""

EVERYONE = "*"


class Happened(Enum):
    """Whether a change was made."""

    YES = auto()
    NO = auto()
    PERHAPS = auto()


@dataclass(slots=True)
class Operation:
    """A request with all its repetitions, in the order in which they began."""

    calls: list[Call]

    @property
    def began(self) -> float:
        """The time at which it was first sent."""
        return self.calls[0].began

    @property
    def effect_until(self) -> float:
        """The latest time at which it may have taken effect."""
        return max(call.effect_until for call in self.calls)

    @property
    def answered(self) -> Call | None:
        """The first repetition that succeeded."""
        return next((call for call in self.calls if call.outcome is CallOutcome.OK), None)

    @property
    def changes(self) -> list[tuple[int, Change]]:
        """The requested changes with their positions."""
        return list(enumerate(self.calls[0].changes))

    def happened(self, position: int) -> Happened:
        """Return whether the change at a position was made."""
        if any(call.outcome is CallOutcome.OK and position not in call.refused for call in self.calls):
            return Happened.YES
        if any(call.outcome is CallOutcome.AMBIGUOUS for call in self.calls):
            return Happened.PERHAPS
        return Happened.NO


@dataclass(slots=True)
class Life:
    """What is known about the existence of a record.

    Attributes:
        client_id: its client.
        first: the sighting that ended first: by its end, the record existed.
        last: the sighting that began last: at its start, the record still existed.
        gone_from: the earliest time after `last` at which it may have been deleted.
        slots: the slots in which it was seen.
    """

    client_id: str
    first: Sighting
    last: Sighting
    gone_from: float = inf
    slots: set[Slot] = field(default_factory=set)


class Evidence:
    """The evidence in a history.

    Attributes:
        calls: all calls, and the final reading as the last one.
        faults: the injected faults.
        final: the final reading.
        operations: the operations by number.
        lives: the lives of records by id.
        etags: by record, the sightings of each etag.
        primaries: by slot, the sightings of each etag of a primary.
        external_ids: by external id, the sightings of each etag of its holder.
        labels: by record, the sightings of each label.
        notes: by record, the sightings of each note.
        marks: by mark, the operation that writes it and the position of the change.
        deletes: by record, the calls that request its deletion.
        clears: by client, the calls that may delete all of its records.
        vacates: by client, the calls that may leave a slot without a primary.
    """

    def __init__(self, history: History) -> None:
        self.faults = history.faults
        self.calls = in_order(history.calls)
        self.final: Call | None = None
        if history.final is not None:
            at = history.final_at
            self.final = Call(
                -1,
                -1,
                "the checker",
                "the reading at the end",
                at,
                at,
                CallOutcome.OK,
                seen=history.final,
                complete=EVERYONE,
            )
            self.calls.append(self.final)
        self.operations: dict[int, Operation] = {}
        self.lives: dict[str, Life] = {}
        self.etags: defaultdict[str, Register] = defaultdict(lambda: defaultdict(list))
        self.primaries: defaultdict[Slot, Register] = defaultdict(lambda: defaultdict(list))
        self.external_ids: defaultdict[str, Register] = defaultdict(lambda: defaultdict(list))
        self.labels: defaultdict[str, Register] = defaultdict(lambda: defaultdict(list))
        self.notes: defaultdict[str, Register] = defaultdict(lambda: defaultdict(list))
        self.marks: dict[str, tuple[Operation, int]] = {}
        self.deletes: defaultdict[str, list[Call]] = defaultdict(list)
        self.clears: defaultdict[str, list[Call]] = defaultdict(list)
        self.vacates: defaultdict[str, list[Call]] = defaultdict(list)
        for call in self.calls:
            for state in call.seen:
                self._see(state, Sighting(call.began, call.ended, call))
        for call in self.calls:
            self._take_in_changes(call)
        for id_, life in self.lives.items():
            candidates = [
                call.began
                for call in (*self.deletes[id_], *self.clears[life.client_id])
                if call.effect_until > life.last.began
            ]
            life.gone_from = min(candidates, default=inf)

    def sightings(self) -> Iterator[tuple[Call, State]]:
        """Yield every state with the call that shows it."""
        for call in self.calls:
            for state in call.seen:
                yield call, state

    def _see(self, state: State, sighting: Sighting) -> None:
        life = self.lives.get(state.id)
        if life is None:
            life = self.lives[state.id] = Life(state.client_id, sighting, sighting)
        else:
            if sighting.ended < life.first.ended:
                life.first = sighting
            if sighting.began > life.last.began:
                life.last = sighting
        life.slots.add(state.slot)
        self.etags[state.id][state.etag].append(sighting)
        if state.is_primary:
            self.primaries[state.slot][state.etag].append(sighting)
        if state.external_id:
            self.external_ids[state.external_id][state.etag].append(sighting)
        if state.label:
            self.labels[state.id][state.label].append(sighting)
        if state.note:
            self.notes[state.id][state.note].append(sighting)

    def _take_in_changes(self, call: Call) -> None:
        operation = self.operations.get(call.operation)
        if operation is None:
            operation = self.operations[call.operation] = Operation([call])
        else:
            operation.calls.append(call)
        for position, change in enumerate(call.changes):
            if change.mark:
                self.marks.setdefault(change.mark, (operation, position))
            if call.outcome is CallOutcome.FAILED or position in call.refused:
                continue
            if change.kind is Kind.DELETE and change.id:
                self.deletes[change.id].append(call)
            elif change.kind is Kind.CLEAR:
                self.clears[change.client_id].append(call)
            if change.vacates or change.kind is Kind.CLEAR:
                known = self.lives.get(change.id)
                if client_id := change.client_id or (known.client_id if known else ""):
                    self.vacates[client_id].append(call)
        for id_ in call.deleted:
            self.deletes[id_].append(call)
