"""Generated histories of a correct service, and the same with one thing wrong in each."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from itertools import count
from math import inf

from tests.robustness.history import Call, CallOutcome, Change, History, Kind, State

OK, FAILED, AMBIGUOUS = CallOutcome.OK, CallOutcome.FAILED, CallOutcome.AMBIGUOUS


class Service:
    """A correct service for generated histories: each operation takes effect at one moment."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._etags = count()
        self.records: dict[str, State] = {}

    def put(self, state: State) -> State:
        if state.is_primary:
            for other in list(self.records.values()):
                if other.id != state.id and other.slot == state.slot and other.is_primary:
                    self._store(other._replace(is_primary=False))
        return self._store(state)

    def _store(self, state: State) -> State:
        stored = self.records[state.id] = state._replace(etag=f"e{next(self._etags)}")
        return stored

    def apply(self, call: Call) -> None:
        """Apply a call and record the answer in it."""
        rng = self._rng
        seen: list[State] = []
        if call.rpc == "list":
            client_id = call.complete = f"client{rng.randrange(2)}"
            call.seen = [state for state in self.records.values() if state.client_id == client_id]
            return
        if call.rpc == "primary":
            slot = f"client{rng.randrange(2)}", rng.choice(["email", "phone"])
            call.seen = [state for state in self.records.values() if state.slot == slot and state.is_primary]
            call.vacant = [] if call.seen else [slot]
            return
        for position, change in enumerate(call.changes):
            match change.kind:
                case Kind.CREATE:
                    id_, type_ = f"r{call.operation}.{position}", rng.choice(["email", "phone"])
                    made = State(id_, "", change.client_id, type_, rng.random() < 0.5, label=change.mark)
                    seen.append(self.put(made._replace(made=change.mark)))
                case Kind.UPDATE:
                    state = self.records.get(change.id)
                    if state is None or (change.etag and change.etag != state.etag):
                        call.outcome = FAILED
                        call.absent = [] if state else [change.id]
                        return
                    changed = state._replace(is_primary=state.is_primary and not change.vacates)
                    changed = (
                        changed._replace(label=change.mark) if change.label else changed._replace(note=change.mark)
                    )
                    seen.append(self.put(changed))
                case Kind.DELETE:
                    if self.records.pop(change.id, None) is None:
                        call.outcome, call.absent = FAILED, [change.id]
                        return
                case _:
                    for id_ in [one.id for one in self.records.values() if one.client_id == change.client_id]:
                        del self.records[id_]
        # In their state at the end of the batch.
        call.seen = [self.records[state.id] for state in seen]


def generated(seed: int, length: int = 400) -> History:
    """Return a valid history with many overlapping calls, a fifth of them ambiguous."""
    rng = random.Random(seed)  # noqa: S311 - repeatable
    service, history = Service(rng), History()
    pending: list[tuple[float, Call]] = []
    known: list[State] = []
    time = 0.0

    def take_effect(until: float) -> None:
        for moment, call in sorted(pending, key=lambda pair: pair[0]):
            if moment > until:
                continue
            pending.remove((moment, call))
            ambiguous = call.outcome is AMBIGUOUS
            service.apply(call)
            if ambiguous:
                call.outcome, call.seen, call.absent, call.complete, call.vacant = AMBIGUOUS, [], [], "", []
            elif moment > call.ended:
                raise AssertionError("answered before it took effect")
            known.extend(call.seen)

    for number in range(length):
        time += rng.random()
        take_effect(time)
        call = Call(number, number, "caller", "write", time, time + rng.expovariate(0.2), OK)
        call.changes, call.rpc = changes_of(rng, number, known)
        if call.rpc == "write" and call.changes[0].kind is Kind.CLEAR:
            call.rpc = "EraseClientContactMethods"
        moment = rng.uniform(call.began, call.ended)
        if rng.random() < 0.2:
            call.outcome = AMBIGUOUS
            # It takes effect now, later or never.
            moment = rng.choice([moment, call.ended + rng.expovariate(0.1), inf])
        pending.append((moment, call))
        history.calls.append(call)
    take_effect(1e9)
    history.final, history.final_at = list(service.records.values()), time + 10_000
    return history


def changes_of(rng: random.Random, number: int, known: list[State]) -> tuple[list[Change], str]:
    choice = rng.random()
    state = rng.choice(known) if known else None
    if choice < 0.2:
        return [], rng.choice(["list", "primary"])
    if choice < 0.5 or state is None:
        client_id = f"client{rng.randrange(2)}"
        size = rng.choice([1, 1, 3])
        return [Change(Kind.CREATE, f"{number}.{i}", client_id=client_id) for i in range(size)], "write"
    if choice < 0.85:
        etag, vacates, label = rng.choice(["", state.etag]), rng.random() < 0.2, rng.random() < 0.5
        change = Change(Kind.UPDATE, f"{number}.0", state.id, "", etag, vacates, label, not label)
        return [change], "write"
    if choice < 0.98:
        return [Change(Kind.DELETE, id=state.id, vacates=True)], "write"
    return [Change(Kind.CLEAR, client_id=state.client_id, vacates=True)], "write"


def damaged(seed: int) -> Iterator[tuple[str, History]]:
    """Yield histories with one fault each, which the rest of the history proves."""
    history = generated(seed)
    assert history.final is not None
    deleted = {change.id for call in history.calls for change in call.changes if change.kind is Kind.DELETE}
    cleared = {change.client_id for call in history.calls for change in call.changes if change.kind is Kind.CLEAR}
    safe = [state for state in history.final if state.id not in deleted and state.client_id not in cleared]
    for state in safe[:1]:
        yield "missing", replace(history, final=[one for one in history.final if one != state])
    twin = history.final[0]._replace(id="twin", etag="twin")
    yield "twin", replace(history, final=[*history.final, twin])
    for primary in [one for one in history.final if one.is_primary][:1]:
        other = primary._replace(id="other", etag="other", made="")
        yield "two primaries", replace(history, final=[*history.final, other])
    for call in history.calls:
        if call.outcome is OK and call.seen and call.changes:
            undone = replace(call, outcome=FAILED, seen=[], complete="")
            calls = [undone if one is call else one for one in history.calls]
            if any(state.made == call.changes[0].mark for state in history.final):
                yield "phantom", replace(history, calls=calls)
                break
