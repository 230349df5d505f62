"""The curve: what a read by id costs on contactsvc with a thousand records, ten thousand, and so on."""

from __future__ import annotations

from contextlib import AsyncExitStack
from dataclasses import replace

from benchmarks import bench, servers
from benchmarks.cases import all_cases
from benchmarks.comparison import Comparison
from benchmarks.options import Options
from benchmarks.results import Measurement

_SMALLEST = 1_000


async def draw(options: Options) -> Comparison:
    """Measure reads at each size up to the records of the options."""
    measurements: list[Measurement] = []
    sizes = [size for size in (_SMALLEST * 10**power for power in range(4)) if size < options.records]
    async with bench.ready(options) as on:
        for size in [*sizes, options.records]:
            database = f"contactsvc_bench_{size}"
            await on.fill(f"{database}_live", size)
            case = all_cases(size, size)[0]
            await on.write_requests(case)
            try:
                async with AsyncExitStack() as stack:
                    server = await servers.start(
                        "contactsvc",
                        stack,
                        uri=on.uri,
                        database=database,
                        folder=on.folder,
                        answers={},
                        loop="asyncio",
                    )
                    await on.answer_of(server, case)
                    settling = replace(options, seconds=options.settling, warmup=0.0)
                    await on.measure(server, case, 64, settling, database)
                    for number in range(1, options.rounds + 1):
                        for in_flight in options.levels:
                            sample = await on.measure(server, case, in_flight, options, database)
                            title = f"get of {size:,}"
                            one = Measurement(f"get-{size}", title, 1, in_flight, "contactsvc", number, sample)
                            bench.note(f"  {title}, {in_flight} in flight: {one.brief()}")
                            measurements.append(one)
            finally:
                await on.drop(f"{database}_live")
    return Comparison(measurements, [])
