"""The bare driver: what contactsvc's batches and streams would cost if it were nothing but the driver.

It uses contactsvc's own connection settings, and measures itself: lines of JSON in and out, as the generator has them.
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
    """Call insert_many again and again, with documents as contactsvc makes them."""
    latencies: list[float] = []
    for is_warmup, seconds in ((True, order["warmup"]), (False, order["seconds"])):
        latencies.clear()
        stopwatch = Stopwatch(os.getpid(), order["database"], os.getpid())
        until = perf_counter() + seconds
        while perf_counter() < until:
            documents = data.new_documents(order["size"])
            began = perf_counter()
            await collection.insert_many(documents)
            latencies.append(perf_counter() - began)
        sample = stopwatch.read(latencies, 0)
        if not is_warmup:
            return sample
    raise AssertionError


async def _read(collection: Any, order: dict[str, Any]) -> Sample:
    """Read all documents in the order of contactsvc's stream."""
    stopwatch = Stopwatch(os.getpid(), order["database"], os.getpid())
    began = perf_counter()
    count = 0
    cursor = collection.find({}).sort([("created_at", 1), ("_id", 1)]).batch_size(order["size"])
    while batch := await cursor.to_list(length=order["size"]):
        count += len(batch)
    return stopwatch.read([perf_counter() - began], 0 if count == order["count"] else 1)


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
