"""The comparison: every case on every server at every level, in rounds, so that a slow minute affects all servers."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace

from benchmarks import bench, servers
from benchmarks.bench import Bench, WrongAnswer
from benchmarks.cases import Case, all_cases
from benchmarks.children import ChildError
from benchmarks.options import Options
from benchmarks.results import Measurement
from benchmarks.servers import RunningServer
from benchmarks.toolchains import ServerUnavailable

_DATABASE = "contactsvc_bench"
# With one call in flight, servers differ by less than the speed of a shared machine varies within seconds. So they take
# more and shorter turns.
_SHORTER_ALONE = 4


@dataclass(frozen=True)
class Comparison:
    """The measurements of a run, notes for its reader, and a table of results beyond the usual ones."""

    measurements: list[Measurement]
    notes: list[str]
    summary: str = ""


async def compare(options: Options) -> Comparison:
    """Run the comparison that the options ask for."""
    notes: list[str] = []
    measurements: list[Measurement] = []
    cases = [case for case in all_cases(options.records, options.stream_records) if case.name in options.cases]
    async with bench.ready(options) as on:
        await on.fill(f"{_DATABASE}_live", options.records)
        if "stream" in options.cases:
            # The other environment of the same service.
            await on.fill(f"{_DATABASE}_test", options.stream_records)
        for case in cases:
            await on.write_requests(case)
        try:
            async with _running_servers(on, options, cases, notes) as running:
                await _settle(on, options, cases, running)
                for number in range(1, options.rounds + 1):
                    bench.note(f"round {number} of {options.rounds}")
                    for case in cases:
                        measurements += await _round(on, options, case, running, number)
        finally:
            await on.drop(f"{_DATABASE}_live")
            await on.drop(f"{_DATABASE}_test")
    return Comparison(measurements, notes)


@asynccontextmanager
async def _running_servers(
    on: Bench, options: Options, cases: list[Case], notes: list[str]
) -> AsyncGenerator[list[RunningServer]]:
    """Start the servers, check their answers, and stop them at the end of the block."""
    async with AsyncExitStack() as stack:
        started: dict[str, RunningServer] = {}
        answers: dict[str, bytes | list[bytes]] = {}
        loop = "asyncio"
        # contactsvc first: the floor repeats its answers, on the same kind of event loop.
        for name in sorted(servers.LABELS, key=lambda name: name != "contactsvc"):
            if name not in options.servers and not (name == "contactsvc" and "floor" in options.servers):
                continue
            bench.note(f"starting {servers.LABELS[name]} ...")
            try:
                server = await servers.start(
                    name, stack, uri=on.uri, database=_DATABASE, folder=on.folder, answers=answers, loop=loop
                )
            except ServerUnavailable as reason:
                if name == "contactsvc":
                    raise
                notes.append(f"{servers.LABELS[name]} is left out: {reason}")
                bench.note(notes[-1])
                continue
            started[name] = server
            for case in cases if name != "driver" else []:
                if name in case.servers:
                    answer = await on.answer_of(server, case)
                    if name == "contactsvc":
                        answers[case.method] = answer if case.streams else answer[0]
            if name == "contactsvc":
                loop = server.loop
        loops = ", ".join(f"{servers.LABELS[name]}: {server.loop}" for name, server in started.items())
        notes.append(f"event loops: {loops}")
        if "unbatched" in started and not servers.knows("batching"):
            notes.append(
                "this contactsvc has no setting CONTACTSVC_BATCHING: 'batching off' is the same program, and the "
                "difference between the two is the noise of this run"
            )
        yield [started[name] for name in options.servers if name in started]


async def _settle(on: Bench, options: Options, cases: list[Case], running: list[RunningServer]) -> None:
    """Call everything for a while without counting, so that pools are full and JavaScript is compiled."""
    bench.note("warming up ...")
    longer = replace(options, seconds=options.settling, warmup=0.0)
    for case in cases:
        if case.items == 1:
            for server in running:
                if server.name in case.servers:
                    await on.measure(server, case, 64, longer, _DATABASE)


async def _round(
    on: Bench, options: Options, case: Case, running: list[RunningServer], number: int
) -> list[Measurement]:
    found = []
    shorter = replace(options, seconds=options.seconds / _SHORTER_ALONE, warmup=options.warmup / _SHORTER_ALONE)
    for in_flight in case.levels or options.levels:
        taking_part = [
            server
            for server in running
            if server.name in case.servers and in_flight in servers.LEVELS.get(server.name, (in_flight,))
        ]
        alone = in_flight == 1 and case.items == 1
        turns = options.turns_alone if alone else 1
        for turn in range((number - 1) * turns + 1, number * turns + 1):
            # In alternating order: the first may find the database busier, or colder, than the others do.
            for server in taking_part if turn % 2 else reversed(taking_part):
                measurement = await _turn(on, shorter if alone else options, case, in_flight, server, turn)
                found.append(measurement)
    return found


async def _turn(
    on: Bench, options: Options, case: Case, in_flight: int, server: RunningServer, number: int
) -> Measurement:
    try:
        sample = await on.measure(server, case, in_flight, options, _DATABASE)
    except ChildError as error:
        raise WrongAnswer(f"{case.name} on {server.name}: {error}") from error
    measurement = Measurement(case.name, case.title, case.items, in_flight, server.name, number, sample)
    bench.note(f"  {case.title}, {in_flight} in flight, {servers.LABELS[server.name]}: {measurement.brief()}")
    return measurement
