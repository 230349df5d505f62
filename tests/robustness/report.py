"""The report of a run."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.robustness.checker import Violation
from tests.robustness.checker.attacks import waits
from tests.robustness.history import Call, CallOutcome, History, in_order
from tests.robustness.recorder import service_of

# The first call to end after a fault is among this many that begin after it.
_MAX_CANDIDATES = 100


@dataclass(slots=True)
class Report:
    """The results of a run.

    Attributes:
        history: the calls and faults.
        violations: the findings of the checker.
        problems: the findings of the checks at the end.
        notes: remarks.
        seed: the seed of the run.
        seconds: the length of the run.
        checked_in: the run time of the checker, in seconds.
    """

    history: History
    seed: int
    violations: Sequence[Violation] = ()
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    seconds: float = 0.0
    checked_in: float = 0.0

    @property
    def good(self) -> bool:
        """Whether nothing was found."""
        return not self.violations and not self.problems

    def as_json(self) -> dict[str, Any]:
        """Return the figures."""
        outages, recoveries = longest_outages(self.history), longest_recoveries(self.history)
        return {
            "seed": self.seed,
            "seconds": round(self.seconds, 1),
            "calls": len(self.history.calls),
            "outcomes": dict(Counter(call.outcome.value for call in self.history.calls)),
            "codes": dict(Counter(call.code for call in self.history.calls).most_common()),
            "rpcs": dict(Counter(call.rpc for call in self.history.calls).most_common()),
            "records_at_the_end": len(self.history.final or ()),
            "faults": {
                kind: {
                    "injected": count,
                    "longest_recovery_seconds": round(recoveries.get(kind, 0.0), 2),
                    "longest_outage_seconds": round(outages.get(kind, 0.0), 2),
                }
                for kind, count in sorted(Counter(fault.kind for fault in self.history.faults).items())
            },
            "violations": [str(violation) for violation in self.violations],
            "problems": self.problems,
            "notes": [*self.notes, *_watched(self.history)],
            "checked_in_seconds": round(self.checked_in, 1),
        }

    def as_markdown(self) -> str:
        """Return the figures as Markdown."""
        figures = self.as_json()
        outcomes = figures["outcomes"]
        lines = [
            "| what | figure |",
            "|---|---|",
            f"| calls | {figures['calls']:,} |",
            f"| succeeded, failed, ambiguous | "
            f"{outcomes.get('ok', 0):,}, {outcomes.get('failed', 0):,}, {outcomes.get('ambiguous', 0):,} |",
            f"| faults injected | {len(self.history.faults):,} |",
            f"| violations found | {len(self.violations)} |",
            f"| problems at the end | {'; '.join(self.problems) or 'none'} |",
            f"| records at the end | {figures['records_at_the_end']:,} |",
            f"| minutes; seconds to check | {self.seconds / 60:.1f}, {self.checked_in:.1f} |",
            f"| seed | {self.seed} |",
            "",
            "| fault | injected | longest recovery of all services | longest outage of one caller |",
            "|---|---|---|---|",
        ]
        for kind, row in figures["faults"].items():
            recovery, outage = row["longest_recovery_seconds"], row["longest_outage_seconds"]
            lines.append(f"| {kind} | {row['injected']} | {recovery:.1f} s | {outage:.1f} s |")
        lines += ["", *(f"- {note}" for note in figures["notes"])] if figures["notes"] else []
        return "\n".join(lines) + "\n"


def longest_recoveries(history: History) -> dict[str, float]:
    """Return, by kind of fault, the longest time until every service had answered a read and a write again.

    It is measured from the injection of the fault, and so includes the duration of the fault.
    """
    successes: defaultdict[tuple[str, bool], list[Call]] = defaultdict(list)
    for call in in_order(history.calls):
        if call.outcome is CallOutcome.OK:
            successes[service_of(call.caller), bool(call.changes)].append(call)
    starts = {kind: [call.began for call in calls] for kind, calls in successes.items()}
    longest: defaultdict[str, float] = defaultdict(float)
    for fault in history.faults:
        for kind, calls in successes.items():
            later = calls[bisect_left(starts[kind], fault.ended) :][:_MAX_CANDIDATES]
            if later:
                again = min(call.ended for call in later)
                longest[fault.kind] = max(longest[fault.kind], again - fault.began)
    return longest


def longest_outages(history: History) -> dict[str, float]:
    """Return, by kind of fault, the longest time that a caller was without a success.

    It is measured from the start of the first call that failed through no fault of the caller to the end of its next
    success, and attributed to the last fault that had begun when that call failed.
    """
    by_caller: defaultdict[str, list[Call]] = defaultdict(list)
    for call in history.calls:
        # Calls that the caller cancelled are not the fault of the service.
        if call.code != "CANCELLED":
            by_caller[call.caller].append(call)
    faults = sorted(history.faults, key=lambda fault: fault.began)
    longest: defaultdict[str, float] = defaultdict(float)
    for calls in by_caller.values():
        failing_since = 0.0
        failed_at = 0.0
        for call in calls:
            if call.outcome is CallOutcome.AMBIGUOUS and not call.impatient:
                failing_since = failing_since or call.began
                failed_at = failed_at or call.ended
            elif call.outcome is not CallOutcome.AMBIGUOUS and failing_since:
                kind = next((fault.kind for fault in reversed(faults) if fault.began < failed_at), "no fault")
                longest[kind] = max(longest[kind], call.ended - failing_since)
                failing_since = failed_at = 0.0
    return longest


def _watched(history: History) -> list[str]:
    """Return lines on the memory of the workers, and on the lone callers."""
    lines = []
    if history.memory:
        worker, size = max(history.memory.items(), key=lambda peak: peak[1])
        lines.append(f"peak memory of {len(history.memory)} workers: at most {size / 2**20:.0f} MiB (service {worker})")
    seconds = sorted(wait.seconds for wait in waits(history))
    if seconds:
        failed = sum(call.outcome is not CallOutcome.OK for call in history.gets)
        lines.append(
            f"gets of lone callers: {len(history.gets):,}, {failed:,} of them failed; waits outside of faults: p50 "
            f"{_quantile(seconds, 0.5)}, p99 {_quantile(seconds, 0.99)}, longest {_quantile(seconds, 1)}"
        )
    return lines


def _quantile(seconds: Sequence[float], fraction: float) -> str:
    """Return a quantile of sorted times."""
    return f"{seconds[min(int(fraction * len(seconds)), len(seconds) - 1)] * 1000:.1f} ms"
