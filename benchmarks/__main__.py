"""The command: measures, prints and writes files; stops everything that it started, also on Ctrl-C."""

from __future__ import annotations

import asyncio
import importlib.util
import signal
import sys
from pathlib import Path

from benchmarks import bench, comparison, curve, machine, releases, workers
from benchmarks.bench import WrongAnswer
from benchmarks.children import ChildError
from benchmarks.options import HERE, Options, read_options
from benchmarks.report import Report
from benchmarks.toolchains import ServerUnavailable
from contactsvc.errors import StartupError

_KINDS = {
    "last run": comparison.compare,
    "curve": curve.draw,
    "releases": releases.compare,
    "workers": workers.compare,
}


async def _run(options: Options) -> Report:
    _stop_at_a_signal()
    described = await machine.description()
    measured = await _KINDS[options.kind](options)
    return Report(
        options=options,
        machine=described,
        notes=measured.notes,
        measurements=measured.measurements,
        summary=measured.summary,
    )


def _stop_at_a_signal() -> None:
    """Let the first SIGINT or SIGTERM cancel the run, and ignore further ones until it has stopped."""
    task, loop, arrived = asyncio.current_task(), asyncio.get_running_loop(), list[int]()

    def stop(number: int) -> None:
        if not arrived and task is not None:
            bench.note("stopping ...")
            task.cancel()
        arrived.append(number)

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop, number)


def _draw(report: Report, path: Path) -> None:
    if importlib.util.find_spec("matplotlib") is None:
        bench.note("no picture: matplotlib is not installed (pip install 'contactsvc[bench]')")
        return
    from benchmarks import plot

    draw = {"last run": plot.draw, "curve": plot.draw_curve}.get(report.options.kind)
    for file in draw(report.figures, path) if draw else []:
        bench.note(f"wrote {file}")


def main() -> int:
    """Run; return 0, 1 after a failure, or 130 after an interruption."""
    options = read_options()
    if sys.platform != "linux":
        bench.note("benchmarks: Linux is required, for /proc")
        return 1
    try:
        report = asyncio.run(_run(options))
    except (KeyboardInterrupt, asyncio.CancelledError):
        bench.note("benchmarks: interrupted; everything that it started is stopped")
        return 130
    except (WrongAnswer, ChildError, ServerUnavailable, StartupError) as error:
        bench.note(f"benchmarks: {error}")
        return 1
    sys.stdout.write("\n" + report.text())
    folder = options.output if options.kind == "last run" else options.output / options.kind
    report.write(folder)
    bench.note(f"wrote {folder / 'results.json'}")
    _draw(report, folder / "results")
    if options.complete:
        report.write_into_readme()
        _draw(report, HERE / options.kind.replace(" ", "-"))
        bench.note(f"wrote {HERE / 'README.md'}")
    return 1 if any(one.errors for one in report.figures) else 0


if __name__ == "__main__":
    sys.exit(main())
