"""The bare driver: the database commands behind batches and streams, without a server.

It has the connection settings of contactsvc, and measures itself: a command per line of JSON, as the generator.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from time import perf_counter
from typing import Any

from benchmarks import data
from benchmarks.children import say
from benchmarks.sampling import Sample, Stopwatch
from contactsvc.store import DRIVERS


async def _insert(collection: Any, order: dict[str, Any]) -> Sample:
    """Repeat insert_many with the documents that contactsvc would store; whole calls, at least `min_calls`."""
    latencies: list[float] = []
    stopwatch = Stopwatch(os.getpid(), order["database"], os.getpid())
    for min_calls, seconds in ((1, order["warmup"]), (order["min_calls"], order["seconds"])):
        latencies.clear()
        stopwatch.start()
        until = perf_counter() + seconds
        while perf_counter() < until or len(latencies) < min_calls:
            documents = data.new_documents(order["size"])
            started = perf_counter()
            await collection.insert_many(documents)
            latencies.append(perf_counter() - started)
    return stopwatch.read(latencies, 0)


async def _read(collection: Any, order: dict[str, Any]) -> Sample:
    """Read all documents in the order of contactsvc's stream."""
    stopwatch = Stopwatch(os.getpid(), order["database"], os.getpid())
    started = perf_counter()
    count = 0
    cursor = collection.find({}).sort([("created_at", 1), ("_id", 1)]).batch_size(order["size"])
    while batch := await cursor.to_list(length=order["size"]):
        count += len(batch)
    return stopwatch.read([perf_counter() - started], 0 if count == order["count"] else 1)


async def _serve_commands(uri: str) -> None:
    driver = DRIVERS["motor"](uri, None)
    running = asyncio.get_running_loop()
    while line := await running.run_in_executor(None, sys.stdin.readline):
        order = json.loads(line)
        collection = driver.database(order["name"])["contact_methods"]
        try:
            sample = await (_insert if order["what"] == "insert_many" else _read)(collection, order)
            answer = sample.to_json()
        except Exception as error:
            answer = {"failed": f"{type(error).__name__}: {error}"}
        say(json.dumps(answer))
    await driver.close()


if __name__ == "__main__":
    asyncio.run(_serve_commands(sys.argv[1]))
