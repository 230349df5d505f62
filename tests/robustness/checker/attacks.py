"""The rules for what attackers must not achieve: memory without bounds, and waits of others."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import accumulate
from math import inf
from typing import Final, NamedTuple

from tests.robustness.checker.violation import Violation
from tests.robustness.history import Call, CallOutcome, Fault, History

MAX_RESIDENT_BYTES: Final = 512 * 1024 * 1024
"""The memory that the Kubernetes manifest allows."""


def bounded_memory(history: History) -> Iterator[Violation]:
    """No worker ever has more resident memory than it is allowed."""
    for worker, size in history.memory.items():
        if size > MAX_RESIDENT_BYTES:
            yield Violation("too much memory", f"service {worker}: {size / 2**20:.0f} MiB", [])


def no_internal_answer(history: History) -> Iterator[Violation]:
    """Attackers and lone callers never get INTERNAL, except on a full disk."""
    full = [fault for fault in history.faults if fault.kind == "full disk"]
    for call in (*history.attacks, *history.gets):
        excused = any(fault.began < call.ended and call.began < fault.ended for fault in full)
        if call.reason == "INTERNAL" and not excused:
            yield Violation("internal fault", call.rpc, [call])


def lone_callers_are_served(history: History) -> Iterator[Violation]:
    """Outside of faults, lone callers find their record, and do not wait for an answer for longer than the limit."""
    for call in history.gets:
        if call.code == "NOT_FOUND":
            yield Violation("acknowledged write missing", "the record of a lone caller", [call])
    if history.max_wait_seconds is None:
        return
    for wait in waits(history):
        if wait.seconds > history.max_wait_seconds:
            what = f"a lone caller waited for {wait.seconds:.1f} s outside of faults"
            yield Violation("others not served", what, wait.calls)


class Wait(NamedTuple):
    """The time from a call of a lone caller to its next success, or to its last call.

    Attributes:
        calls: the first call and the last one.
        seconds: the length, without the time of a fault at the beginning.
    """

    calls: Sequence[Call]
    seconds: float


def waits(history: History) -> Iterator[Wait]:
    """Yield the waits of lone callers, except those that end during a fault."""
    quiet = _QuietTimes(history.faults)
    by_caller: defaultdict[str, list[Call]] = defaultdict(list)
    for call in history.gets:
        by_caller[call.caller].append(call)
    for calls in by_caller.values():
        first: Call | None = None
        for call in calls:
            first = first or call
            if call.outcome is not CallOutcome.OK and call is not calls[-1]:
                continue
            since = max(first.began, quiet.since(call.ended))
            if since < call.ended:
                yield Wait([first] if first is call else [first, call], call.ended - since)
            first = None


class _QuietTimes:
    """The times in which no fault is in effect: from its beginning until every service answers again."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        in_order = sorted(faults, key=lambda fault: fault.began)
        self._began = [fault.began for fault in in_order]
        self._until = list(accumulate((fault.recovered or inf for fault in in_order), max))

    def since(self, time: float) -> float:
        """Return since when no fault has been in effect, which is later than `time` during one."""
        position = bisect_right(self._began, time)
        return self._until[position - 1] if position else -inf
