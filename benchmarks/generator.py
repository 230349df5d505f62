"""The load generator: a process that reads one command per line of JSON, and answers each with one line.

It reads the CPU clocks of server and database itself, at the moments at which counting starts and ends.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import sys
from pathlib import Path
from typing import Any

from benchmarks.children import say
from benchmarks.closed_loop import ClosedLoop
from benchmarks.http1 import Http1Connection
from benchmarks.http2 import Http2Connection
from benchmarks.sampling import Sample, Stopwatch

_CALLS_PER_CONNECTION = 64
_DRAIN_TIMEOUT_SECONDS = 60.0
_COUNT_TIMEOUT_SECONDS = 900.0


def write_requests(path: Path, requests: list[bytes]) -> None:
    """Write requests to a file that a command can name."""
    path.write_text(json.dumps([request.decode("latin-1") for request in requests]))


def command(
    *,
    protocol: str,
    address: str,
    method: str,
    metadata: list[tuple[str, str]],
    requests: Path,
    in_flight: int,
    warmup: float,
    seconds: float,
    min_calls: int,
    calls: int | None,
    keep: Path | None,
    server: int,
    database: int | None,
) -> dict[str, Any]:
    """Return the command to make calls and measure them.

    Args:
        protocol: `grpc` or `http`.
        address: of the server.
        method: the path of the gRPC method; HTTP requests contain their own.
        metadata: of each gRPC call.
        requests: a file of `write_requests`: protobuf messages, or whole HTTP requests.
        in_flight: concurrent calls.
        warmup: seconds of calls before counting.
        seconds: seconds to count: from the end of a call to the first end of a call after them.
        min_calls: count longer, until this many calls have ended.
        calls: count just this many calls instead, without a warm-up.
        keep: a file for the bodies of all answers.
        server: the process id of the server.
        database: that of the database; None if it runs on another machine.
    """
    return {
        "protocol": protocol,
        "address": address,
        "method": method,
        "metadata": metadata,
        "requests": str(requests),
        "in_flight": in_flight,
        "warmup": warmup,
        "seconds": seconds,
        "min_calls": min_calls,
        "calls": calls,
        "keep": None if keep is None else str(keep),
        "server": server,
        "database": database,
    }


def _read_requests(path: Path) -> list[bytes]:
    return [request.encode("latin-1") for request in json.loads(path.read_text())]


def _write_bodies(path: Path, bodies: list[bytes]) -> None:
    path.write_bytes(b"".join(bodies))


async def measure(order: dict[str, Any]) -> Sample:
    """Make the calls of a command, and measure them."""
    requests = _read_requests(Path(order["requests"]))
    loop = ClosedLoop(requests, max_calls=order["calls"], keep=order["keep"] is not None)
    gc.collect()
    stopwatch = Stopwatch(order["server"], order["database"], os.getpid())
    transports = await _connect(loop, order)
    async with asyncio.timeout(_COUNT_TIMEOUT_SECONDS):
        if order["calls"] is not None:
            await loop.all_ended()
        else:
            await asyncio.sleep(order["warmup"])
            await _count(loop, stopwatch, order["seconds"], order["min_calls"])
    sample = stopwatch.read(loop.latencies, loop.errors)
    if order["calls"] is None:
        loop.stop()
        async with asyncio.timeout(_DRAIN_TIMEOUT_SECONDS):
            await loop.all_ended()
    for transport in transports:
        transport.close()
    if order["keep"] is not None:
        _write_bodies(Path(order["keep"]), loop.bodies)
    return sample


async def _count(loop: ClosedLoop, stopwatch: Stopwatch, seconds: float, min_calls: int) -> None:
    """Start the stopwatch at the end of a call, and return at the end of another."""
    await loop.next_end()
    loop.reset()
    stopwatch.start()
    await asyncio.sleep(seconds)
    while await loop.next_end() and len(loop.latencies) + loop.errors < min_calls:
        pass


async def _connect(loop: ClosedLoop, order: dict[str, Any]) -> list[asyncio.BaseTransport]:
    """Open the connections, which start to call at once."""
    host, _, port = order["address"].rpartition(":")
    left: int = order["in_flight"]
    transports: list[asyncio.BaseTransport] = []
    while left > 0:
        # HTTP/1.1 carries one call per connection. gRPC clients, too, open another connection for each hundred calls.
        slots = min(left, _CALLS_PER_CONNECTION) if order["protocol"] == "grpc" else 1
        left -= slots

        def protocol(slots: int = slots) -> asyncio.Protocol:
            if order["protocol"] == "grpc":
                metadata = [(name, value) for name, value in order["metadata"]]
                return Http2Connection(loop, order["method"], order["address"], metadata, slots)
            return Http1Connection(loop)

        transport, _ = await asyncio.get_running_loop().create_connection(protocol, host, int(port))
        transports.append(transport)
    return transports


async def _serve_commands() -> None:
    running = asyncio.get_running_loop()
    # Standard input ends with the parent, and then the generator ends, too.
    while line := await running.run_in_executor(None, sys.stdin.readline):
        try:
            answer = (await measure(json.loads(line))).to_json()
        except Exception as error:
            answer = {"failed": f"{type(error).__name__}: {error}"}
        say(json.dumps(answer))


if __name__ == "__main__":
    asyncio.run(_serve_commands())
