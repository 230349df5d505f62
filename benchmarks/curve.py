"""The curve: the cost of a read by id on contactsvc over the number of records.

One collection grows, and one server reads it, so that only the number of records changes from point to point.
"""

from __future__ import annotations

from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

from benchmarks import bench, data, procfs, servers
from benchmarks.bench import Bench
from benchmarks.cases import all_cases
from benchmarks.comparison import Comparison
from benchmarks.options import Options
from benchmarks.results import Measurement

_DATABASE = "contactsvc_bench_curve"
_SMALLEST = 1_000


async def draw(options: Options) -> Comparison:
    """Measure reads at each size up to the number of records in the options."""
    measurements: list[Measurement] = []
    notes: list[str] = []
    sizes = [size for size in (_SMALLEST * 10**power for power in range(4)) if size < options.records]
    async with bench.ready(options) as on, AsyncExitStack() as stack:
        stack.push_async_callback(on.drop, f"{_DATABASE}_live")
        server, filled = None, 0
        for size in [*sizes, options.records]:
            await on.fill(f"{_DATABASE}_live", size, start=filled)
            filled = size
            notes.append(await _sizes(on, size))
            bench.note(notes[-1])
            case = all_cases(size, size)[0]
            await on.write_requests(case)
            if server is None:
                server = await servers.start(
                    "contactsvc", stack, uri=on.uri, database=_DATABASE, folder=on.folder, answers={}, loop="asyncio"
                )
            await on.answer_of(server, case)
            await on.measure(server, case, 64, replace(options, seconds=options.settling, warmup=0.0), _DATABASE)
            for number in range(1, options.rounds + 1):
                for in_flight in options.levels:
                    sample = await on.measure(server, case, in_flight, options, _DATABASE)
                    title = f"get of {size:,}"
                    one = Measurement(f"get-{size}", title, 1, in_flight, "contactsvc", number, sample)
                    bench.note(f"  {title}, {in_flight} in flight: {one.brief()}")
                    measurements.append(one)
    return Comparison(measurements, notes)


async def _sizes(on: Bench, records: int) -> str:
    """Return the size of the records on disk, and the memory of the database if it runs here."""
    said = f"{records:,} records:"
    if on.is_embedded:
        said += f" {_bytes_of_files(on.folder / 'database') / records:,.0f} bytes of files each (log included)"
    else:
        stats = await data.sizes(on.driver, f"{_DATABASE}_live")
        said += f" {stats.documents / records:,.0f} bytes each, {stats.indexes / records:,.0f} of indexes"
    if on.database_pid is not None:
        memory = procfs.resident_bytes(procfs.family(on.database_pid))
        said += f", {memory / 2**20:,.0f} MiB of memory in the database"
    return said


def _bytes_of_files(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
