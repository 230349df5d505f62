"""The load generator: a process that is told by lines of JSON what to measure, and answers each with a line.

It reads the CPU clocks of the server and the database itself, at the very moments at which it begins and ends to count.
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
_LONGEST_DRAIN = 60.0
_LONGEST_COUNTED = 900.0


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
    with_request_id: bool,
    in_flight: int,
    warmup: float,
    seconds: float,
    calls: int | None,
    keep: Path | None,
    server: int,
    database: int | None,
) -> dict[str, Any]:
    """Return the command to make calls and to say what they cost.

    Args:
        protocol: `grpc` or `http`.
        address: of the server.
        method: the path of the gRPC method; HTTP requests name their own.
        metadata: of each gRPC call.
        requests: a file that `write_requests` wrote: protobuf messages, or whole HTTP requests.
        with_request_id: whether to append a fresh request_id to each.
        in_flight: how many calls at a time.
        warmup: for how many seconds to call before counting.
        seconds: for how many to count.
        calls: how many calls to make instead.
        keep: a file to write the bodies of all answers to.
        server: the id of the server's process.
        database: that of the database's, if it runs here.
    """
    return {
        "protocol": protocol,
        "address": address,
        "method": method,
        "metadata": metadata,
        "requests": str(requests),
        "with_request_id": with_request_id,
        "in_flight": in_flight,
        "warmup": warmup,
        "seconds": seconds,
        "calls": calls,
        "keep": None if keep is None else str(keep),
        "server": server,
        "database": database,
    }


def _read_requests(path: Path) -> list[bytes]:
    return [request.encode("latin-1") for request in json.loads(path.read_text())]


def _keep(path: Path, bodies: list[bytes]) -> None:
    path.write_bytes(b"".join(bodies))


async def _measure(order: dict[str, Any]) -> Sample:
    requests = _read_requests(Path(order["requests"]))
    loop = ClosedLoop(
        requests, most=order["calls"], with_request_id=order["with_request_id"], keep=order["keep"] is not None
    )
    gc.collect()
    stopwatch = Stopwatch(order["server"], order["database"], os.getpid())
    transports = await _connect(loop, order)
    if order["calls"] is None:
        await asyncio.sleep(order["warmup"])
        loop.forget()
        stopwatch = Stopwatch(order["server"], order["database"], os.getpid())
        await asyncio.sleep(order["seconds"])
        sample = stopwatch.read(loop.latencies, loop.errors)
        loop.stop()
        async with asyncio.timeout(_LONGEST_DRAIN):
            await loop.all_ended()
    else:
        async with asyncio.timeout(_LONGEST_COUNTED):
            await loop.all_ended()
        sample = stopwatch.read(loop.latencies, loop.errors)
    for transport in transports:
        transport.close()
    if order["keep"] is not None:
        _keep(Path(order["keep"]), loop.bodies)
    return sample


async def _connect(loop: ClosedLoop, order: dict[str, Any]) -> list[asyncio.BaseTransport]:
    """Open the connections, which begin to call at once."""
    host, _, port = order["address"].rpartition(":")
    left: int = order["in_flight"]
    transports: list[asyncio.BaseTransport] = []
    while left > 0:
        # HTTP/1.1 carries one call per connection; gRPC's clients open further ones as well when a hundred are in use.
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
    # Standard input ends with the parent, and then so does the generator.
    while line := await running.run_in_executor(None, sys.stdin.readline):
        try:
            answer = (await _measure(json.loads(line))).to_json()
        except Exception as error:
            answer = {"failed": f"{type(error).__name__}: {error}"}
        say(json.dumps(answer))


if __name__ == "__main__":
    asyncio.run(_serve_commands())
