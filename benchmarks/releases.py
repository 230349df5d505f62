"""Releases of grpcio compared: the cost of a bare echo and of a read of contactsvc on each.

Each release is installed into a folder of its own that comes first on the path, so that everything else is the same.
"""

from __future__ import annotations

import asyncio
import sys
from contextlib import AsyncExitStack
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

from benchmarks import bench, procfs, servers
from benchmarks.bench import WrongAnswer
from benchmarks.cases import Case, all_cases
from benchmarks.comparison import Comparison
from benchmarks.options import Options
from benchmarks.results import Figures, Measurement, figures
from benchmarks.servers import RunningServer
from benchmarks.tables import table
from benchmarks.toolchains import ServerUnavailable

_DATABASE = "contactsvc_bench"
_IN_FLIGHT = 64
_VARIANTS = {
    "echo-asyncio": ("floor", "asyncio", "bare echo, asyncio"),
    "echo-uvloop": ("floor", "uvloop", "bare echo, uvloop"),
    "get": ("contactsvc", "uvloop", "contactsvc, get by id"),
}


async def compare(options: Options) -> Comparison:
    """Compare the releases in the options."""
    measurements: list[Measurement] = []
    case = all_cases(options.records, options.records)[0]
    async with bench.ready(options) as on, AsyncExitStack() as stack:
        await on.fill(f"{_DATABASE}_live", options.records)
        stack.push_async_callback(on.drop, f"{_DATABASE}_live")
        await on.write_requests(case)
        running = [
            (variant, release, server)
            for release in options.grpcio
            for variant, server in (await _start_all(on, stack, case, release)).items()
        ]
        bench.note("warming up ...")
        for _, _, server in running:
            await on.measure(server, case, _IN_FLIGHT, replace(options, seconds=options.settling), _DATABASE)
        for number in range(1, options.rounds + 1):
            bench.note(f"round {number} of {options.rounds}")
            for variant, (_, _, title) in _VARIANTS.items():
                for of, release, server in running:
                    if of == variant:
                        sample = await on.measure(server, case, _IN_FLIGHT, options, _DATABASE)
                        one = Measurement(variant, title, 1, _IN_FLIGHT, f"grpcio {release}", number, sample)
                        bench.note(f"  {title}, {one.server}: {one.brief()}")
                        measurements.append(one)
    return Comparison(measurements, [], _summary(figures(measurements)))


async def _start_all(on: bench.Bench, stack: AsyncExitStack, case: Case, release: str) -> dict[str, RunningServer]:
    """Start the servers of a release."""
    path = await _install(on.folder, release)
    answers: dict[str, bytes | list[bytes]] = {}
    started = {}
    # contactsvc first: the echo repeats its answer.
    for variant, (name, loop, _) in sorted(_VARIANTS.items(), key=lambda item: item[1][0] == "floor"):
        server = await servers.start(
            name,
            stack,
            uri=on.uri,
            database=_DATABASE,
            folder=on.folder,
            answers=answers,
            loop=loop,
            environ={"PYTHONPATH": str(path)},
        )
        answers.setdefault(case.method, (await on.answer_of(server, case))[0])
        if not procfs.maps_file(server.child.pid, str(path)) or server.loop != loop:
            raise WrongAnswer(f"{name} does not run on grpcio {release} and {loop}")
        started[variant] = server
    return started


async def _install(folder: Path, release: str) -> Path:
    """Install a release of grpcio, and the packages with stubs, whose newer releases refuse an older grpcio."""
    bench.note(f"installing grpcio {release} ...")
    path = folder / f"grpcio-{release}"
    pip = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"),
        *("--only-binary", ":all:", "--target", str(path), f"grpcio=={release}"),
        *("grpcio-health-checking", "grpcio-reflection", "grpcio-status", f"protobuf=={version('protobuf')}"),
        stdin=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    _, errors = await pip.communicate()
    if pip.returncode != 0:
        raise ServerUnavailable(f"pip install grpcio=={release} failed: {errors.decode().strip().splitlines()[-1:]}")
    return path


def _summary(all_figures: list[Figures]) -> str:
    """Return a table of server µs per call by release, and each over the smallest of its column."""
    releases = list(dict.fromkeys(one.server for one in all_figures))
    least = {
        variant: min(one.server_us for one in all_figures if one.case == variant)
        for variant in dict.fromkeys(one.case for one in all_figures)
    }
    cells = {
        (one.server, one.case): f"{one.server_us:,.0f} ({one.server_us / least[one.case]:.2f}x)" for one in all_figures
    }
    head = ("server µs per call", *(_VARIANTS[variant][2] for variant in least))
    return table(head, [(release, *(cells[release, variant] for variant in least)) for release in releases])
