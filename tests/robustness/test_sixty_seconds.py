"""A minute of `make robustness`: one fault of each kind, in the middle of all calls."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.robustness.faults.schedule import FAULTS
from tests.robustness.run import Plan, run


@pytest.mark.skipif(sys.platform != "linux", reason="the faults are those of Linux: /proc, prlimit")
# An event loop of its own: in that of the session, the database clients of other tests begin tasks at any time.
@pytest.mark.asyncio(loop_scope="function")
async def test_through_every_kind_of_fault_nothing_is_lost(tmp_path: Path) -> None:
    plan = Plan(calls=4_000, faults=len(FAULTS), minutes=10, seed=60)

    report = await run(plan, tmp_path)

    assert [str(violation) for violation in report.violations] == []
    assert report.problems == []
    assert {fault.kind for fault in report.history.faults} == set(FAULTS)
    assert len(report.history.calls) >= plan.calls
