"""A short run of `make robustness`, with one fault of each kind."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.examples import examples
from tests.robustness.attackers import Attacks
from tests.robustness.faults.schedule import FAULTS
from tests.robustness.run import Plan, run

CALLS = examples(default=1_000, long=4_000, variable="CONTACTSVC_TEST_ROBUSTNESS_CALLS")
CALLERS = examples(default=12, long=32, variable="CONTACTSVC_TEST_ROBUSTNESS_CALLERS")

# The services share the machine with other tests.
ATTACKS = Attacks(scans=4, small=250, answers=4, requests=8, large=10, lists=2, pause_seconds=2.0)
KINDS_OF_ATTACKS = {"abandoned scans", "unread answers", "unfinished requests", "large records"}


@pytest.mark.skipif(sys.platform != "linux", reason="the faults need Linux: /proc, prlimit")
# Its own event loop: in that of the session, the database clients of other tests start tasks at any time.
@pytest.mark.asyncio(loop_scope="function")
async def test_through_every_kind_of_fault_nothing_is_lost(tmp_path: Path) -> None:
    plan = Plan(
        CALLS,
        faults=len(FAULTS),
        minutes=10,
        seed=60,
        callers=CALLERS,
        quiet_seconds=0.5,
        attacks=ATTACKS,
        max_wait_seconds=None,
    )

    report = await run(plan, tmp_path)

    assert [str(violation) for violation in report.violations] == []
    assert report.problems == []
    assert {fault.kind for fault in report.history.faults} == set(FAULTS)
    assert len(report.history.calls) >= plan.calls
    assert {note.split(": ")[1].split(", ")[0] for note in report.notes if note.startswith("attackers")} == (
        KINDS_OF_ATTACKS
    )
    assert report.history.memory
    assert report.history.gets
