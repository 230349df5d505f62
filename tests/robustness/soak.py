"""A soak: long traffic with cancelled calls, and restarts of everything but one service.

Leaks of that service show in its memory, its open files and its latencies.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import linear_regression, median, quantiles
from typing import TypeVar

from tests.robustness import aftermath
from tests.robustness.faults import processes
from tests.robustness.faults.schedule import kill_a_worker, kill_the_database, restart
from tests.robustness.history import CallOutcome, Fault, History
from tests.robustness.recorder import service_of
from tests.robustness.report import Report
from tests.robustness.run import OnProgress, Plan
from tests.robustness.stand import Stand
from tests.robustness.traffic import Traffic

T = TypeVar("T")

_SAMPLE_SECONDS = 5.0
_BETWEEN_FAULTS_SECONDS = 30.0
_QUARTERS = 4
# The part of the run in which modules are imported, and pools and caches fill.
_WARM_UP_FRACTION = 0.25


@dataclass(frozen=True, slots=True)
class Sample:
    """The resources of a service at one time.

    Attributes:
        at: the time, in seconds.
        mebibytes: resident memory.
        files: open files.
        threads: threads.
    """

    at: float
    mebibytes: float
    files: int
    threads: int


async def drive(plan: Plan, stand: Stand, traffic: Traffic, report: Report, on_progress: OnProgress) -> int:
    """Make calls for the minutes of the plan; return the number of open cursors after the last fault."""
    history = report.history
    samples: list[Sample] = []
    began = time.monotonic()
    ends = began + plan.minutes * 60
    done = asyncio.Event()
    callers = asyncio.create_task(traffic.run(plan.callers, until=done.is_set))
    sampling = asyncio.create_task(_sample(stand, samples))
    rng = random.Random(plan.seed)  # noqa: S311 - repeatable
    number = 0
    try:
        while time.monotonic() < ends:
            await asyncio.wait(
                {callers, sampling}, timeout=_BETWEEN_FAULTS_SECONDS, return_when=asyncio.FIRST_COMPLETED
            )
            if callers.done() or sampling.done():
                break
            number += 1
            kind = ("SIGTERM and restart", "kill -9 of a worker", "SIGTERM and restart", "kill -9 of the database")
            fault = Fault(kind[number % 4], time.monotonic())
            history.faults.append(fault)
            match fault.kind:
                case "kill -9 of a worker":
                    await kill_a_worker(stand, rng)
                case "kill -9 of the database":
                    await kill_the_database(stand, rng)
                case _:
                    await restart(stand.two)
            fault.ended = time.monotonic()
            on_progress(f"{len(history.calls)} calls, {len(history.faults)} restarts: {samples[-1].mebibytes:.1f} MiB")
        cursors = await aftermath.open_cursors(stand.database.uri)
    finally:
        done.set()
        sampling.cancel()
        await asyncio.gather(callers, sampling, return_exceptions=True)
    report.notes += figures(samples, history)
    return cursors


def figures(samples: Sequence[Sample], history: History) -> list[str]:
    """Return lines on memory, open files and latencies of the service that was never restarted."""
    began = samples[0].at
    warm = [sample for sample in samples if sample.at >= began + (samples[-1].at - began) * _WARM_UP_FRACTION]
    memory = _parts(samples, lambda sample: sample.at, began, samples[-1].at)
    slope, _ = linear_regression([sample.at for sample in warm], [sample.mebibytes for sample in warm])
    said = [
        f"memory of the service that was never restarted: {samples[0].mebibytes:.1f} MiB at first, "
        f"{warm[0].mebibytes:.1f} after a quarter, {samples[-1].mebibytes:.1f} at the end; "
        f"from the quarter on {slope * 3600:+.1f} MiB per hour",
        "its memory, quarter by quarter: "
        + ", ".join(f"median {median(sample.mebibytes for sample in part):.1f} MiB" for part in memory),
        _counted("open files", [sample.files for sample in samples]),
        _counted("threads", [sample.threads for sample in samples]),
    ]
    calls = [call for call in history.calls if service_of(call.caller) == "one" and call.outcome is CallOutcome.OK]
    for name, kind in (("reads", False), ("writes", True)):
        of_kind = [call for call in calls if bool(call.changes) is kind]
        parts = [
            [call.ended - call.began for call in part]
            for part in _parts(of_kind, lambda call: call.began, began, samples[-1].at)
        ]
        said.append(
            f"latency of its {name}, quarter by quarter: "
            + ", ".join(
                f"median {median(part) * 1000:.1f} ms, p99 {quantiles(part, n=100)[98] * 1000:.0f} ms" for part in parts
            )
        )
    return said


def _counted(what: str, counts: Sequence[int]) -> str:
    return f"its {what}: {counts[0]} at first, {counts[-1]} at the end, {max(counts)} at most"


def _parts(items: Iterable[T], at: Callable[[T], float], began: float, ended: float) -> list[list[T]]:
    """Return the items of each quarter of the time that has more than one."""
    parts: list[list[T]] = [[] for _ in range(_QUARTERS)]
    for item in items:
        position = int((at(item) - began) / (ended - began) * _QUARTERS)
        parts[min(max(position, 0), _QUARTERS - 1)].append(item)
    return [part for part in parts if len(part) > 1]


async def _sample(stand: Stand, samples: list[Sample]) -> None:
    while True:
        (files,) = aftermath.open_files([stand.one]).values()
        (mebibytes,) = aftermath.resident_mebibytes([stand.one]).values()
        samples.append(Sample(time.monotonic(), mebibytes, files, sum(map(processes.threads, stand.one.pids))))
        await asyncio.sleep(_SAMPLE_SECONDS)
