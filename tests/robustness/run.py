"""A run: traffic, faults during the traffic, and the check of the history."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

from tests.robustness import aftermath
from tests.robustness.attackers import Attackers, Attacks
from tests.robustness.checker import check
from tests.robustness.faults.schedule import FAULTS, schedule
from tests.robustness.history import Fault
from tests.robustness.knowledge import Knowledge
from tests.robustness.lone_callers import LoneCallers
from tests.robustness.recorder import Recorder
from tests.robustness.report import Report
from tests.robustness.stand import Stand, standing
from tests.robustness.traffic import Traffic

_RECOVERY_TIMEOUT_SECONDS = 60.0
# Calls before the first fault.
_WARM_UP_CALLS = 200


@dataclass(frozen=True, slots=True)
class Plan:
    """The parameters of a run.

    Attributes:
        calls: the minimum number of calls.
        faults: the minimum number of faults.
        minutes: when to give up.
        seed: determines the calls and the faults.
        kinds: the kinds of faults; all by default.
        callers: the number of concurrent callers.
        quiet_seconds: the pause after the last fault and after the last call, in which the writes of callers that have
            left take effect and connection pools shrink.
        attacks: the size of the attacks.
        max_wait_seconds: how long a lone caller may wait for an answer outside of faults; None only reports it.
    """

    calls: int = 100_000
    faults: int = 200
    minutes: float = 60.0
    seed: int = 1
    kinds: list[str] = field(default_factory=lambda: list(FAULTS))
    callers: int = 32
    quiet_seconds: float = 2.0
    attacks: Attacks = field(default_factory=Attacks)
    max_wait_seconds: float | None = 10.0


OnProgress = Callable[[str], None]
Drive = Callable[[Plan, Stand, Traffic, Report, OnProgress], Awaitable[int]]
"""Makes calls during faults; returns the number of open cursors after the last fault."""


async def run(
    plan: Plan, directory: Path, on_progress: OnProgress = lambda _line: None, drive: Drive | None = None
) -> Report:
    """Carry out a plan and return the report.

    Args:
        plan: the parameters.
        directory: for the logs of the services.
        on_progress: called with a line of text after each fault.
        drive: makes the calls and injects the faults; by default according to the plan.
    """
    started = time.monotonic()
    before = asyncio.all_tasks()
    recorder = Recorder()
    history = recorder.history
    history.max_wait_seconds = plan.max_wait_seconds
    report = Report(history, plan.seed)
    async with standing(directory) as stand:
        async with stand.stubs() as stubs:
            cursors = await (drive or _drive)(
                plan, stand, Traffic(recorder, Knowledge(), stubs, plan.seed), report, on_progress
            )
        await asyncio.sleep(plan.quiet_seconds)
        report.problems += await aftermath.leaked_cursors(stand.database.uri, cursors)
        for service in (stand.one, stand.two):
            assert service.process is not None
            service.process.terminate()
            if code := await service.ended():
                report.problems.append(f"service {service.name} ended with exit code {code}")
        history.final, problems = await aftermath.read_everything(stand.database.uri)
        history.final_at = time.monotonic()
        report.problems += problems
        if said := await aftermath.examined(stand.database.uri):
            report.problems.append(said)
    report.problems += aftermath.unended_tasks(before)
    report.seconds = time.monotonic() - started
    on_progress(f"{len(history.calls)} calls, {len(history.faults)} faults; checking")
    report.violations = await asyncio.to_thread(check, history)
    report.checked_in = time.monotonic() - started - report.seconds
    return report


async def _drive(plan: Plan, stand: Stand, traffic: Traffic, report: Report, on_progress: OnProgress) -> int:
    history = report.history
    deadline = time.monotonic() + plan.minutes * 60
    done = asyncio.Event()
    attackers = Attackers(stand, history, plan.attacks, random.Random(plan.seed))  # noqa: S311 - repeatable
    lone_callers = LoneCallers(stand, history)
    await attackers.prepare()
    await lone_callers.prepare()
    callers = asyncio.create_task(_together(traffic, plan.callers, attackers, lone_callers, done))
    try:
        while len(history.calls) < _WARM_UP_CALLS:
            await _pause(callers)
        files = aftermath.open_files(stand.services)
        if stand.disk is None:
            report.notes.append(f"full disk simulated by a file size limit: {stand.why_no_disk}")
        rng = random.Random(plan.seed)  # noqa: S311 - repeatable
        order = schedule(plan.seed, plan.kinds)
        while len(history.calls) < plan.calls or len(history.faults) < plan.faults:
            if time.monotonic() > deadline:
                report.problems.append(f"not finished after {plan.minutes:g} minutes")
                break
            # Spread the faults evenly over the calls.
            if len(history.faults) * plan.calls > len(history.calls) * plan.faults:
                await _pause(callers)
                continue
            together = next(order)
            faults = await asyncio.gather(*(_inject(kind, stand, rng, report) for kind in together))
            await _recovered(stand, traffic.recorder, report, " and ".join(together))
            for fault in faults:
                fault.recovered = time.monotonic()
            on_progress(f"{len(history.calls)} calls, {len(history.faults)} faults: {', '.join(together)}")
        cursors = await aftermath.open_cursors(stand.database.uri)
        await asyncio.sleep(plan.quiet_seconds)
        report.problems += aftermath.leaked_files(files, aftermath.open_files(stand.services))
        memory = aftermath.resident_mebibytes(stand.services)
        report.notes.append(", ".join(f"memory of service {name}: {size:.0f} MiB" for name, size in memory.items()))
        report.notes += attackers.notes()
        return cursors
    finally:
        done.set()
        await callers


async def _together(
    traffic: Traffic, callers: int, attackers: Attackers, lone_callers: LoneCallers, done: asyncio.Event
) -> None:
    """Make calls of all kinds until the event."""
    async with asyncio.TaskGroup() as group:
        group.create_task(traffic.run(callers, until=done.is_set))
        group.create_task(attackers.run(done))
        group.create_task(lone_callers.run(done))


async def _pause(callers: asyncio.Task[None]) -> None:
    await asyncio.wait({callers}, timeout=0.05)
    if callers.done():
        await callers


async def _inject(kind: str, stand: Stand, rng: random.Random, report: Report) -> Fault:
    fault = Fault(kind, time.monotonic())
    report.history.faults.append(fault)
    fault.detail = await FAULTS[kind](stand, rng)
    fault.ended = time.monotonic()
    return fault


async def _recovered(stand: Stand, recorder: Recorder, report: Report, what: str) -> None:
    """Wait until every service has answered a read and a write again; report one that does not."""
    mended = time.monotonic()
    waited_for = [(service.name, writes) for service in stand.services for writes in (False, True)]
    while missing := [kind for kind in waited_for if recorder.succeeded.get(kind, 0.0) < mended]:
        if time.monotonic() > mended + _RECOVERY_TIMEOUT_SECONDS:
            names = ", ".join(f"{'writes' if writes else 'reads'} of {name}" for name, writes in missing)
            report.problems.append(f"{_RECOVERY_TIMEOUT_SECONDS:g} s after {what}, still no {names}")
            return
        await asyncio.sleep(0.02)
