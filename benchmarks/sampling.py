"""One measurement: the calls between two moments, and the CPU time of server, database and generator."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from time import perf_counter
from typing import Any

from benchmarks import procfs


@dataclass(frozen=True, kw_only=True)
class Sample:
    """The result of one measurement; times in seconds.

    Attributes:
        seconds: its length.
        calls: successful calls.
        errors: failed calls.
        p50: the median latency.
        p99: the latency that one call in a hundred exceeds.
        server_cpu: CPU time of the server and its children.
        database_cpu: CPU time of the database; None if it runs on another machine.
        generator_cpu: CPU time of the process that makes the calls.
        others_cpu: CPU time of everything else on the machine, including the kernel's work for this traffic.
        resident: resident memory of the server at the end, in bytes.
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
        """Return it as JSON."""
        return asdict(self)


class Stopwatch:
    """Reads the clocks of a server, the database and the generator.

    Args:
        server: the process id of the server.
        database: that of the database; None if it runs on another machine.
        generator: that of the process that makes the calls; it may be the server's.
    """

    def __init__(self, server: int, database: int | None, generator: int) -> None:
        # Finding the processes takes milliseconds, and so comes before the start.
        self._server = procfs.family(server)
        self._database = None if database is None else procfs.family(database)
        self._generator = [generator]
        self._started = self._read()

    def start(self) -> None:
        """Start to count at this moment, instead of when the stopwatch was made."""
        self._started = self._read()

    def read(self, latencies: list[float], errors: int) -> Sample:
        """Return what was used since the start, for calls with these latencies."""
        used = [now - started for started, now in zip(self._started, self._read(), strict=True)]
        # The bare driver is server and generator in one process.
        measured = used[1] + used[2] + (0 if self._generator == self._server else used[3])
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
            others_cpu=max(used[4] - measured, 0),
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
