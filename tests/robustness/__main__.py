"""`python -m tests.robustness`: make calls during faults, and report violations."""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import signal
import sys
import tempfile
import time
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

from tests.robustness.checker import check
from tests.robustness.history import History
from tests.robustness.report import Report
from tests.robustness.run import Plan, run
from tests.robustness.soak import drive as soak


def main() -> int:
    """Run, report, and return the exit code: 0 if nothing was found."""
    parser = argparse.ArgumentParser(prog="python -m tests.robustness", description=__doc__)
    parser.add_argument("--calls", type=int, default=100_000, help="minimum number of calls [100000]")
    parser.add_argument("--faults", type=int, default=200, help="minimum number of faults [200]")
    parser.add_argument("--seed", type=int, default=1, help="determines the calls and the faults [1]")
    parser.add_argument("--minutes", type=float, default=60, help="when to give up, or the length of a soak [60]")
    parser.add_argument("--kinds", nargs="*", metavar="TEXT", help="only faults whose name contains one of these texts")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="directory for history, logs and figures")
    parser.add_argument("--soak", action="store_true", help="make calls for --minutes, with restarts only")
    parser.add_argument("--check", type=Path, metavar="FILE", help="only check a saved history")
    arguments = parser.parse_args()
    if arguments.check:
        return _checked(arguments.check)
    logging.basicConfig(level=logging.CRITICAL)
    plan = Plan(arguments.calls, arguments.faults, arguments.minutes, arguments.seed)
    if arguments.kinds:
        plan.kinds[:] = [kind for kind in plan.kinds if any(text in kind for text in arguments.kinds)]
    directory = arguments.keep or Path(tempfile.mkdtemp(prefix="contactsvc-robustness-"))
    directory.mkdir(parents=True, exist_ok=True)
    try:
        report = asyncio.run(_stoppable(run(plan, directory, _print_progress, soak if arguments.soak else None)))
    except (asyncio.CancelledError, KeyboardInterrupt):
        _print_progress("stopped")
        return 1
    _keep(report, directory)
    print(report.as_markdown())  # noqa: T201 - the result
    for found in (*report.violations, *report.problems):
        print(found)  # noqa: T201 - the result
    print(f"history, logs and figures: {directory}")  # noqa: T201 - the result
    return 0 if report.good else 1


async def _stoppable(driving: Coroutine[Any, Any, Report]) -> Report:
    """Await a run. SIGTERM, like Ctrl-C, ends it and all its processes."""
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    return await driving


def _keep(report: Report, directory: Path) -> None:
    report.history.save(directory / "history.jsonl")
    (directory / "report.json").write_text(json.dumps(report.as_json(), indent=2) + "\n")
    (directory / "report.md").write_text(report.as_markdown())


def _checked(path: Path) -> int:
    history = History.load(path)
    started = time.monotonic()
    violations = check(history)
    for violation in violations:
        print(violation)  # noqa: T201 - the result
    seconds = time.monotonic() - started
    print(f"{len(history.calls)} calls checked in {seconds:.1f} s: {len(violations)} violations")  # noqa: T201 - the result
    return 1 if violations else 0


_started = time.monotonic()


def _print_progress(line: str) -> None:
    print(f"{time.monotonic() - _started:7.1f} s  {line}", file=sys.stderr)  # noqa: T201 - the progress


if __name__ == "__main__":
    sys.exit(main())
