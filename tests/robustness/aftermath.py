"""Checks at the end of a run: of the data, and of the resources that the services hold."""

from __future__ import annotations

import asyncio
import sys
import time
from collections import Counter
from collections.abc import Iterable
from typing import Any

from pymongo import AsyncMongoClient

from contactsvc.domain.contact_method import ContactMethod
from contactsvc.domain.kinds import Environment
from contactsvc.store import COLLECTION
from contactsvc.store.documents import to_records
from contactsvc.v1 import contact_methods_pb2 as pb
from tests.robustness.faults import processes
from tests.robustness.history import State
from tests.robustness.recorder import MADE, NOTE
from tests.robustness.stand import PREFIX, Service, ServiceProcess

# A connection pool may be larger after a fault than before.
_MAX_EXTRA_FILES = 24
# Drivers close the cursors of cancelled calls in the background.
_CURSORS_TIMEOUT_SECONDS = 20.0


async def read_everything(uri: str, prefix: str = PREFIX) -> tuple[list[State], list[str]]:
    """Read all records from the database; return them, and violations of uniqueness among them."""
    client: AsyncMongoClient[dict[str, Any]] = AsyncMongoClient(uri, tz_aware=True)
    try:
        collection = client[f"{prefix}_{Environment.LIVE}"][COLLECTION]
        documents = await collection.find({}).to_list(length=None)
        problems = [
            *_repeated("primary of", ((one["client_id"], one["type"]) for one in documents if one.get("is_primary"))),
            *_repeated("external id", (one["external_id"] for one in documents if one.get("external_id"))),
            *_repeated("request id", (id_ for one in documents for id_ in one.get("request_ids", ()))),
        ]
        return [_state_of(record) for record in to_records(documents)], problems
    finally:
        await client.close()


async def examined(uri: str) -> str:
    """Run the doctor; return its findings, or an empty string if there are none."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "contactsvc", "doctor", "--database", PREFIX, "--mongodb-uri", uri),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await process.communicate()
    return f"doctor says: {said.decode()}" if process.returncode else ""


async def open_cursors(uri: str) -> int:
    """Return the number of open cursors of the database."""
    async with AsyncMongoClient[dict[str, Any]](uri) as client:
        status = await client["admin"].command("serverStatus")
    return int(status["metrics"]["cursor"]["open"]["total"])


async def leaked_cursors(uri: str, before: int) -> list[str]:
    """Return a problem if more cursors stay open than before.

    Cursors of cut connections and of killed services stay open until the database drops them.
    """
    deadline = time.monotonic() + _CURSORS_TIMEOUT_SECONDS
    while (after := await open_cursors(uri)) > before:
        if time.monotonic() > deadline:
            return [f"{after} open cursors, {before} before"]
        await asyncio.sleep(0.1)
    return []


def resident_mebibytes(services: Iterable[Service]) -> dict[str, float]:
    """Return the resident memory of each service, all its processes together."""
    return {
        service.name: sum(processes.resident_bytes(pid) for pid in service.pids) / 2**20
        for service in services
        if isinstance(service, ServiceProcess)
    }


def open_files(services: Iterable[Service]) -> dict[str, int]:
    """Return the number of open files of each service: the highest among its processes."""
    return {
        service.name: max(processes.open_files(pid) for pid in service.pids)
        for service in services
        if isinstance(service, ServiceProcess)
    }


def leaked_files(before: dict[str, int], after: dict[str, int]) -> list[str]:
    """Return a problem for each service with more open files than before."""
    return [
        f"service {name}: {after[name]} open files, {count} before"
        for name, count in before.items()
        if after[name] > count + _MAX_EXTRA_FILES
    ]


def unended_tasks(before: set[asyncio.Task[Any]]) -> list[str]:
    """Return a problem for each task of the service in this process that outlives it."""
    return [f"task not ended: {task.get_coro()}" for task in asyncio.all_tasks() - before if not task.done()]


def _repeated(what: str, values: Iterable[Any]) -> list[str]:
    return [f"{count} times {what} {value}" for value, count in Counter(values).items() if count > 1]


def _state_of(record: ContactMethod) -> State:
    return State(
        record.id,
        record.etag,
        record.client_id,
        pb.ContactMethodType.Name(pb.ContactMethodType.Value(f"CONTACT_METHOD_TYPE_{record.type.name}")),
        record.is_primary,
        record.external_id or "",
        record.label or "",
        record.metadata.get(NOTE, ""),
        record.metadata.get(MADE, ""),
    )
