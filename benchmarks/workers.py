"""Several workers of contactsvc compared with one, under the load of h2load.

The load generator of this package needs ten times the CPU of h2load, on the cores of the workers. h2load repeats one
request, so that contactsvc reads the record once for many calls, and the database is not the limit. Bare echoes on one
port show the limit of the machine. The call that loads only contactsvc's own code is a batch that is checked in full
and refused for its last item, before any database command.
"""

from __future__ import annotations

import asyncio
import os
import resource
import shutil
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

from benchmarks import bench, procfs, servers
from benchmarks.bench import Bench
from benchmarks.cases import all_cases, refused_batch
from benchmarks.children import ChildError
from benchmarks.comparison import Comparison
from benchmarks.options import Options
from benchmarks.results import Figures, Measurement, Rounds, figures
from benchmarks.sampling import Sample
from benchmarks.servers import RunningServer
from benchmarks.tables import table
from benchmarks.targets import WORKERS_RATIO
from benchmarks.toolchains import ServerUnavailable

_DATABASE = "contactsvc_bench"
# The kernel assigns connections to workers at random: of 64, each of two workers gets 24 to 40.
_CONNECTIONS, _CALLS_OF_A_CONNECTION = 64, 2
_IN_FLIGHT = _CONNECTIONS * _CALLS_OF_A_CONNECTION
_HEALTH = "/grpc.health.v1.Health/Check"
_BATCH = "/contactsvc.v1.ContactMethodsService/BatchCreateContactMethods"
_TITLES = {
    "echo": "bare echo",
    "health": "contactsvc, health check",
    "get": "contactsvc, get of one id",
    "refused": "contactsvc, batch of 250 refused",
}


@dataclass(frozen=True)
class _Call:
    """A call of h2load: the method, and a file with the body."""

    method: str
    body: Path


async def compare(options: Options) -> Comparison:
    """Compare one process with the number of processes in the options."""
    if shutil.which("h2load") is None:
        raise ServerUnavailable("h2load is not installed (Debian and Ubuntu: apt-get install nghttp2-client)")
    if not servers.knows("workers"):
        raise ServerUnavailable("this contactsvc has no setting CONTACTSVC_WORKERS")
    measurements: list[Measurement] = []
    get = all_cases(options.records, options.records)[0]
    async with bench.ready(options) as on, AsyncExitStack() as stack:
        await on.fill(f"{_DATABASE}_live", options.records)
        stack.push_async_callback(on.drop, f"{_DATABASE}_live")
        await on.write_requests(get)
        services, echoes = {}, {}
        for count in (1, options.workers):
            services[count] = await _start(on, stack, "contactsvc", {"CONTACTSVC_WORKERS": str(count)})
            answer = (await on.answer_of(services[count], get))[0]
            first = await _start(on, stack, "floor", {}, {get.method: answer})
            port = first.address.rpartition(":")[2]
            more = [await _start(on, stack, "floor", {}, {get.method: answer}, port) for _ in range(count - 1)]
            echoes[count] = [first, *more]
        get_call = _Call(get.method, _body(on, "get", get.messages[0]))
        calls = {
            "echo": get_call,
            "health": _Call(_HEALTH, _body(on, "health", b"")),
            "get": get_call,
            "refused": _Call(_BATCH, _body(on, "refused", refused_batch())),
        }
        for number in range(options.rounds + 1):
            bench.note(f"round {number} of {options.rounds}" if number else "warming up ...")
            for case, title in _TITLES.items():
                for count in (1, options.workers):
                    group = echoes[count] if case == "echo" else [services[count]]
                    sample = await _load(on, group, calls[case], options.seconds)
                    one = Measurement(case, title, 1, _IN_FLIGHT, _processes(count), number, sample)
                    bench.note(f"  {title}, {one.server}: {one.brief()}")
                    if number:
                        measurements.append(one)
    return Comparison(measurements, [], _summary(measurements, options.workers))


async def _start(
    on: Bench,
    stack: AsyncExitStack,
    name: str,
    environ: dict[str, str],
    answers: dict[str, bytes | list[bytes]] | None = None,
    port: str = "0",
) -> RunningServer:
    return await servers.start(
        name,
        stack,
        uri=on.uri,
        database=_DATABASE,
        folder=on.folder,
        answers=answers or {},
        loop="uvloop",
        environ=environ,
        port=port,
    )


def _body(on: Bench, name: str, message: bytes) -> Path:
    """Write the body of a gRPC call: flag, length, message."""
    path = on.folder / f"{name}.body"
    path.write_bytes(b"\0" + len(message).to_bytes(4, "big") + message)
    return path


async def _load(on: Bench, group: list[RunningServer], call: _Call, seconds: float) -> Sample:
    """Run h2load for some seconds; return the calls, and the CPU time of servers, database and h2load."""
    pids = [pid for server in group for pid in procfs.family(server.child.pid)]
    database = [] if on.database_pid is None else procfs.family(on.database_pid)
    log = on.folder / "h2load.log"
    log.unlink(missing_ok=True)
    before = _clocks(pids, database)
    h2load = await asyncio.create_subprocess_exec(
        "h2load",
        f"--clients={_CONNECTIONS}",
        f"--max-concurrent-streams={_CALLS_OF_A_CONNECTION}",
        f"--duration={seconds * 1000:.0f}ms",
        f"--data={call.body}",
        f"--log-file={log}",
        "--header=content-type: application/grpc",
        "--header=te: trailers",
        f"http://{group[0].address}{call.method}",
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await h2load.communicate()
    elapsed, server, of_database, generator, machine = (
        after - earlier for earlier, after in zip(before, _clocks(pids, database), strict=True)
    )
    if h2load.returncode != 0 or not log.exists():
        raise ChildError(f"h2load failed: {output.decode(errors='replace').strip().splitlines()[-1:]}")
    # Each line: start, HTTP status, microseconds.
    calls = [line.split("\t") for line in log.read_text().splitlines()]
    latencies = sorted(int(took) / 1e6 for _, status, took in calls if status == "200") or [0.0]
    return Sample(
        seconds=elapsed,
        calls=sum(status == "200" for _, status, _ in calls),
        errors=sum(status != "200" for _, status, _ in calls),
        p50=latencies[len(latencies) // 2],
        p99=latencies[len(latencies) * 99 // 100],
        server_cpu=server,
        database_cpu=of_database if database else None,
        generator_cpu=generator,
        others_cpu=max(machine - server - of_database - generator, 0),
        resident=procfs.resident_bytes(pids),
    )


def _clocks(pids: list[int], database: list[int]) -> tuple[float, ...]:
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (
        perf_counter(),
        procfs.cpu_seconds(pids),
        procfs.cpu_seconds(database),
        # h2load is the only child that ends between two readings.
        ended.ru_utime + ended.ru_stime,
        procfs.machine_cpu_seconds(),
    )


def _processes(count: int) -> str:
    return f"{count} process" if count == 1 else f"{count} processes"


def _summary(measurements: list[Measurement], workers: int) -> str:
    """Return a table of calls per second of several processes over one, and of calls per CPU second."""
    rounds = Rounds(measurements)
    found = {(one.case, one.server): one for one in figures(measurements)}
    one, several = _processes(1), _processes(workers)
    rows = []
    for case, title in _TITLES.items():
        ratio = rounds.ratio("per_second", case, _IN_FLIGHT, several, one) or 0
        row = [title, f"{ratio:.2f} x"]
        for name in (one, several):
            figure = found[case, name]
            row.append(f"{1e6 / figure.server_us:,.0f}" if figure.server_us else "")
            row.append(f"{figure.server_share:.0%} + {figure.database_share or 0:.0%} + {figure.generator_share:.0%}")
        room = len(os.sched_getaffinity(0)) / _used(found[case, one])
        row.append(f"{room:.2f} x")
        rows.append((*row, "" if case == "echo" else _verdict(ratio, room)))
    head = (
        "",
        f"calls/s of {workers} over 1",
        "calls per CPU second of 1",
        "shares of 1: server + db + load",
        f"calls per CPU second of {workers}",
        f"shares of {workers}",
        "cores allow",
        f"target >= {WORKERS_RATIO:g} x",
    )
    return table(head, rows)


def _used(figure: Figures) -> float:
    """Return the cores that server, database and generator used together."""
    return figure.server_share + (figure.database_share or 0) + figure.generator_share


def _verdict(ratio: float, room: float) -> str:
    """Return whether the target is met.

    The cores allow `room` times the calls of one process, if a call costs as much with several processes. A higher
    target cannot be met on this machine.
    """
    if ratio >= WORKERS_RATIO:
        return "met"
    return "MISSED" if room >= WORKERS_RATIO else "MISSED: no cores left"
