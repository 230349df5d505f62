"""A minute of `make robustness`: one fault of each kind, in the middle of all calls."""

from __future__ import annotations

from pathlib import Path

from tests.robustness.faults.schedule import FAULTS
from tests.robustness.run import Plan, run


async def test_through_every_kind_of_fault_nothing_is_lost(tmp_path: Path) -> None:
    plan = Plan(calls=4_000, faults=len(FAULTS), minutes=10, seed=60)

    report = await run(plan, tmp_path)

    assert [str(violation) for violation in report.violations] == []
    assert report.problems == []
    assert {fault.kind for fault in report.history.faults} == set(FAULTS)
    assert len(report.history.calls) >= plan.calls
