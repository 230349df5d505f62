"""Bulk work: the CPU that exports, imports, syncs and an erasure cost per record, at growing sizes.

`python -m benchmarks.bulk` prints a table. Each size has a new database, which `contactsvc serve` runs, so that the CPU
of the command or of the service is told apart from that of the database. Linux only.
"""

from __future__ import annotations

import argparse
import asyncio
import resource
import socket
import sys
import tempfile
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from contactsvc_client import AsyncContactsClient, SyncItem

from benchmarks import children, data, procfs
from contactsvc.domain.contact_method import ContactMethod
from contactsvc.transfer.exporter import ExportHeader
from contactsvc.transfer.formats import SINKS, FileFormat

_CLIENT = "client-with-many"
# As many as a call may have.
_SYNC_ITEMS = 250
_CALL_TIMEOUT_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class Cost:
    """What a piece of work took, in seconds.

    Attributes:
        wall: from begin to end.
        own: CPU of the command, or of the service for a call.
        database: CPU of the database.
    """

    wall: float
    own: float
    database: float


class Database:
    """A database and a service on it.

    Attributes:
        address: of the service.
        flags: the settings that commands need.
    """

    def __init__(self, address: str, flags: Sequence[str], service_pid: int, database_pids: list[int]) -> None:
        self.address = address
        self.flags = flags
        self._service_pid = service_pid
        self._database_pids = database_pids

    async def cost_of_command(self, name: str, *arguments: str) -> Cost:
        """Return the cost of a contactsvc command that succeeds."""
        begin, own = self._now(), _cpu_of_ended_children()
        command = (sys.executable, "-m", "contactsvc", name, *arguments, *self.flags)
        process = await asyncio.create_subprocess_exec(
            *command, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE
        )
        _, errors = await process.communicate()
        if process.returncode:
            raise children.ChildError(errors.decode().strip())
        end = self._now()
        return Cost(end.wall - begin.wall, _cpu_of_ended_children() - own, end.database - begin.database)

    async def cost_of_call(self, call: Callable[[], Awaitable[object]]) -> Cost:
        """Return the cost of a call of the service."""
        begin = self._now()
        await call()
        end = self._now()
        return Cost(end.wall - begin.wall, end.own - begin.own, end.database - begin.database)

    def _now(self) -> Cost:
        return Cost(time.monotonic(), procfs.cpu_seconds([self._service_pid]), procfs.cpu_seconds(self._database_pids))


@asynccontextmanager
async def _database(kind: str, driver: str) -> AsyncGenerator[tuple[Database, Path]]:
    """Run a service on a new database, and give a folder for files."""
    with tempfile.TemporaryDirectory(prefix="contactsvc-bulk-") as name:
        folder = Path(name)
        if kind == "embedded":
            flags = ["--data-dir", str(folder / "data"), "--driver", driver]
            async with _service(folder, flags) as service:
                address = await children.announced_address(service)
                pids = [pid for pid in procfs.family(service.pid) if pid != service.pid]
                yield Database(address, flags, service.pid, pids), folder
            return
        # What it runs on knows no commands of ours: the reads are those for MongoDB.
        (folder / "secantusd.toml").touch()
        port = _free_port()
        program = (sys.executable, "-c", "from secantus.cli import main; main()", "--port", str(port))
        files = ("--storage-path", str(folder / "data"), "--config", str(folder / "secantusd.toml"))
        async with children.running(*program, *files, "--log-level", "WARNING", log=folder / "database.log") as plain:
            flags = ["--mongodb-uri", f"mongodb://127.0.0.1:{port}/?directConnection=true", "--driver", driver]
            async with _service(folder, flags) as service:
                yield Database(await children.announced_address(service), flags, service.pid, [plain.pid]), folder


@asynccontextmanager
async def _service(folder: Path, flags: Sequence[str]) -> AsyncGenerator[children.Child]:
    program = (sys.executable, "-m", "contactsvc", "serve", "--listen", "127.0.0.1:0", "--workers", "1")
    async with children.running(*program, *flags, log=folder / "service.log") as service:
        yield service


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _cpu_of_ended_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _write_file(path: Path, records: Iterator[ContactMethod]) -> None:
    with path.open("wb") as file:
        sink = SINKS[FileFormat.chosen(None, path.name)](file)
        sink.begin(ExportHeader("live", datetime.now(UTC)))
        for record in records:
            sink.put(record)
        sink.end()


async def _transfers(database: Database, folder: Path, size: int, *, lists: bool) -> None:
    lines, rows = folder / "records.jsonl", folder / "records.csv"
    _write_file(folder / "none.jsonl", iter(()))
    _write_file(lines, map(data.record, range(size)))
    # Loading the program, connecting, checking the indexes: the same for every size.
    start = await database.cost_of_command("import", str(folder / "none.jsonl"), "--environment", "live")
    _print("start of a command", 1, start)

    async def step(what: str, name: str, environment: str, *arguments: str) -> None:
        cost = await database.cost_of_command(name, *arguments, "--environment", environment)
        _print(what, size, replace(cost, wall=cost.wall - start.wall, own=cost.own - start.own))

    await step("import of JSON Lines", "import", "live", str(lines))
    await step("the same again", "import", "live", str(lines))
    await step("export of JSON Lines", "export", "live", "--output", str(folder / "export.jsonl"))
    if lists:
        _write_file(rows, map(data.record, range(size)))
        await step("import of CSV", "import", "test", str(rows))
        await step("the same again", "import", "test", str(rows))
        await step("export of CSV", "export", "test", "--output", str(folder / "export.csv"))


async def _calls(database: Database, folder: Path, size: int) -> None:
    lines = folder / "client.jsonl"
    _write_file(lines, (replace(data.record(n), client_id=_CLIENT, is_primary=False) for n in range(size)))
    await database.cost_of_command("import", str(lines), "--environment", "live")
    # Half of them exist, and half are new: by external id, and by type and value.
    values: list[SyncItem] = [
        {"type": "email", "value": f"new{n}@example.com", **({"external_id": f"new-{n}"} if n % 2 else {})}
        for n in range(_SYNC_ITEMS)
    ]
    async with AsyncContactsClient(database.address, environment="live", timeout=_CALL_TIMEOUT_SECONDS) as client:
        methods = client.contact_methods
        await methods.get_primary(_CLIENT, "email")

        async def sync(what: str, label: str) -> None:
            items: list[SyncItem] = [{**item, "label": label} for item in values]
            cost = await database.cost_of_call(lambda: methods.sync(_CLIENT, items))
            _print(f"sync of {_SYNC_ITEMS}, {what}", size, cost)

        await sync("all created", "first")
        await sync("none changed", "first")
        await sync("all changed", "second")
        cost = await database.cost_of_call(lambda: methods.erase_client(_CLIENT))
        _print("erasure", size + _SYNC_ITEMS, cost)


def _print(what: str, records: int, cost: Cost) -> None:
    own, database = (1e6 * seconds / records for seconds in (cost.own, cost.database))
    share = cost.own / max(cost.own + cost.database, 1e-9)
    sys.stdout.write(
        f"| {what} | {records:,} | {cost.wall:.1f} s | {records / max(cost.wall, 1e-9):,.0f} | {own:.0f} µs "
        f"| {database:.0f} µs | {share:.0%} |\n"
    )
    sys.stdout.flush()


def _parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bulk", description=__doc__)
    parser.add_argument("--database", choices=["embedded", "plain"], default="embedded", help="plain: as if MongoDB")
    parser.add_argument("--driver", choices=["motor", "pymongo"], default="motor")
    parser.add_argument("--transfers", type=int, nargs="*", default=[25_000, 50_000, 100_000], metavar="RECORDS")
    parser.add_argument("--clients", type=int, nargs="*", default=[5_000, 10_000, 20_000], metavar="RECORDS")
    parser.add_argument("--no-lists", action="store_true", help="JSON Lines only, no CSV")
    return parser.parse_args()


async def _run(options: argparse.Namespace) -> None:
    sys.stdout.write(
        "| work | records | time | records/s | own CPU | database CPU | own share |\n|---|---|---|---|---|---|---|\n"
    )
    for size in options.transfers:
        async with _database(options.database, options.driver) as (database, folder):
            await _transfers(database, folder, size, lists=not options.no_lists)
    for size in options.clients:
        async with _database(options.database, options.driver) as (database, folder):
            await _calls(database, folder, size)


if __name__ == "__main__":
    asyncio.run(_run(_parsed()))
