"""What must be true when everything has ended: of the data, and of what the services hold."""

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

# A pool of connections may be larger after a fault than before.
_FILES_OF_A_POOL = 24
# A driver closes the cursors of callers that have left in the background.
_CURSORS_CLOSE = 20.0


async def read_everything(uri: str, prefix: str = PREFIX) -> tuple[list[State], list[str]]:
    """Read all records from the database itself; return them, and what is wrong with them at first sight."""
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
    """Run the doctor; return what it says, or nothing when all is well."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "contactsvc", "doctor", "--database", PREFIX, "--mongodb-uri", uri),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await process.communicate()
    return f"doctor says: {said.decode()}" if process.returncode else ""


async def open_cursors(uri: str) -> int:
    """Return how many cursors the database has open."""
    async with AsyncMongoClient[dict[str, Any]](uri) as client:
        status = await client["admin"].command("serverStatus")
    return int(status["metrics"]["cursor"]["open"]["total"])


async def leaked_cursors(uri: str, before: int) -> list[str]:
    """Say whether more cursors stay open than before.

    Those of connections that were cut, and of services that were killed, stay until the database drops them.
    """
    deadline = time.monotonic() + _CURSORS_CLOSE
    while (after := await open_cursors(uri)) > before:
        if time.monotonic() > deadline:
            return [f"{after} cursors are open, and {before} were"]
        await asyncio.sleep(0.1)
    return []


def resident_mebibytes(services: Iterable[Service]) -> dict[str, float]:
    """Return how much memory each service has, with all its processes."""
    return {
        service.name: sum(processes.resident_bytes(pid) for pid in service.pids) / 2**20
        for service in services
        if isinstance(service, ServiceProcess)
    }


def open_files(services: Iterable[Service]) -> dict[str, int]:
    """Return how many files each process of the services has open, the most of each service."""
    return {
        service.name: max(processes.open_files(pid) for pid in service.pids)
        for service in services
        if isinstance(service, ServiceProcess)
    }


def leaked_files(before: dict[str, int], after: dict[str, int]) -> list[str]:
    """Say which services have kept files open that they did not need before."""
    return [
        f"service {name} has {after[name]} files open, and had {count}"
        for name, count in before.items()
        if after[name] > count + _FILES_OF_A_POOL
    ]


def unended_tasks(before: set[asyncio.Task[Any]]) -> list[str]:
    """Say which tasks of the service in this process are still there after its end."""
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
