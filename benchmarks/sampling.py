"""One measurement: what server, database and generator have used between two moments, and what calls came of it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from time import perf_counter
from typing import Any

from benchmarks import procfs


@dataclass(frozen=True, kw_only=True)
class Sample:
    """What one measurement found; times in seconds.

    Attributes:
        seconds: how long it took.
        calls: how many calls succeeded in it.
        errors: how many failed.
        p50: the latency of the median call.
        p99: the latency that one call in a hundred exceeded.
        server_cpu: the CPU time of the server and its children.
        database_cpu: that of the database; None when it runs elsewhere.
        generator_cpu: that of the process that made the calls.
        others_cpu: that of everything else on the machine, the kernel's share of our own traffic included.
        resident: the bytes of memory that the server holds at the end.
    """

    seconds: float
    calls: int
    errors: int
    p50: float
    p99: float
    server_cpu: float
    database_cpu: float | None
    generator_cpu: float
    others_cpu: float
    resident: int

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return asdict(self)


class Stopwatch:
    """Reads the clocks of a server, the database and the generator; made when the measurement begins.

    Args:
        server: the id of the server's process.
        database: that of the database's; None when it runs elsewhere.
        generator: that of the process that makes the calls; it may be the server's.
    """

    def __init__(self, server: int, database: int | None, generator: int) -> None:
        self._server = procfs.family(server)
        self._database = None if database is None else procfs.family(database)
        self._generator = [generator]
        self._began = self._read()

    def read(self, latencies: list[float], errors: int) -> Sample:
        """Return what has been used until now, for calls that took these times."""
        used = [ended - began for began, ended in zip(self._began, self._read(), strict=True)]
        # The bare driver is server and generator in one.
        ours = used[1] + used[2] + (0 if self._generator == self._server else used[3])
        ordered = sorted(latencies) or [0.0]
        return Sample(
            seconds=used[0],
            calls=len(latencies),
            errors=errors,
            p50=ordered[len(ordered) // 2],
            p99=ordered[min(len(ordered) * 99 // 100, len(ordered) - 1)],
            server_cpu=used[1],
            database_cpu=None if self._database is None else used[2],
            generator_cpu=used[3],
            others_cpu=max(used[4] - ours, 0),
            resident=procfs.resident_bytes(self._server),
        )

    def _read(self) -> tuple[float, ...]:
        return (
            perf_counter(),
            procfs.cpu_seconds(self._server),
            procfs.cpu_seconds(self._database or []),
            procfs.cpu_seconds(self._generator),
            procfs.machine_cpu_seconds(),
        )
