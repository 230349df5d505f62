"""The bench: database, data and load generator, for the servers that are started on it."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pymongo import uri_parser

from benchmarks import children, data, generator, procfs
from benchmarks.cases import Case
from benchmarks.children import Child, ChildError
from benchmarks.http2 import messages
from benchmarks.options import Options
from benchmarks.sampling import Sample
from benchmarks.servers import RunningServer
from contactsvc.runtime import embedded
from contactsvc.store import DRIVERS, Driver

# While a million records were written, SecantusDB stood still for more than the usual 30 s. The driver then repeats an
# insert that may have succeeded.
_SOCKET_TIMEOUT_MS = 600_000
_LOOPBACK = {"127.0.0.1", "localhost", "::1"}


class WrongAnswer(Exception):
    """A server answers incorrectly, so that measuring it makes no sense."""


@dataclass(frozen=True, kw_only=True)
class Bench:
    """A database and a load generator.

    Attributes:
        uri: the MongoDB URI.
        is_embedded: whether the database is SecantusDB, started for this run.
        database_pid: its process id; None if it runs on another machine.
        driver: the connection that fills the database and cleans up.
        generator: the process that makes the calls.
        folder: for files, removed at the end of the run.
    """

    uri: str
    is_embedded: bool
    database_pid: int | None
    driver: Driver
    generator: Child
    folder: Path

    async def fill(self, database: str, records: int, *, start: int = 0) -> None:
        """Fill a database up to this many records; it has the first `start` already."""
        note(f"filling {database} with {records:,} records ...")
        if not self.is_embedded and not start:
            # The embedded database is new, and slow at dropping.
            await data.drop(self.driver, database)
        await data.fill(self.driver, database, records, start=start)

    async def drop(self, database: str) -> None:
        """Remove a database; the embedded one is removed as a whole."""
        if not self.is_embedded:
            await data.drop(self.driver, database)

    async def write_requests(self, case: Case) -> None:
        """Write the requests of a case for the generator."""
        generator.write_requests(self._requests(case, "grpc"), case.messages)
        generator.write_requests(self._requests(case, "http"), case.http)

    async def answer_of(self, server: RunningServer, case: Case) -> list[bytes]:
        """Make the first call of a case; return the messages of its answer, or its JSON.

        Raises:
            WrongAnswer: the answer is an error, or incorrect.
        """
        kept = self.folder / "answer"
        sample = await self._load(server, case, in_flight=1, calls=1, keep=kept)
        body = kept.read_bytes()
        got = messages(body) if server.protocol == "grpc" else [body]
        if sample.errors:
            raise WrongAnswer(f"{server.name} answers {case.name} with an error")
        if server.name != "floor":
            is_right = case.is_right(got) if server.protocol == "grpc" else case.http_is_right(body)
            if not is_right:
                raise WrongAnswer(f"{server.name} answers {case.name} incorrectly")
        return got

    async def measure(
        self, server: RunningServer, case: Case, in_flight: int, options: Options, database: str
    ) -> Sample:
        """Measure a case on a server once, and remove the records that it created."""
        if server.name == "driver":
            order: dict[str, Any] = {
                "what": "insert_many" if case.creates else "cursor",
                "name": f"{database}_live" if case.creates else f"{database}_test",
                "size": case.items if case.creates else 200,
                "count": case.items,
                "warmup": options.warmup,
                "seconds": options.seconds,
                "min_calls": options.min_batches,
                "database": self.database_pid,
            }
            sample = _sample(await server.child.ask(order))
        else:
            sample = await self._load(server, case, in_flight=in_flight, calls=case.calls, options=options)
        if case.creates:
            await data.remove_new(self.driver, f"{database}_live")
        return sample

    async def _load(
        self,
        server: RunningServer,
        case: Case,
        *,
        in_flight: int,
        calls: int | None,
        keep: Path | None = None,
        options: Options | None = None,
    ) -> Sample:
        order = generator.command(
            protocol=server.protocol,
            address=server.address,
            method=case.method,
            metadata=case.metadata,
            requests=self._requests(case, server.protocol),
            in_flight=in_flight,
            warmup=options.warmup if options else 0,
            seconds=options.seconds if options else 0,
            # Each call in flight ends at least once.
            min_calls=options.min_batches if options and case.items > 1 else in_flight,
            calls=calls,
            keep=keep,
            server=server.child.pid,
            database=self.database_pid,
        )
        return _sample(await self.generator.ask(order))

    def _requests(self, case: Case, protocol: str) -> Path:
        return self.folder / f"{case.name}.{protocol}.json"


@asynccontextmanager
async def ready(options: Options) -> AsyncGenerator[Bench]:
    """Run database and generator until the end of the block."""
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="contactsvc-bench-")))
        uri = options.mongodb_uri
        if uri is None:
            uri = (await stack.enter_async_context(embedded.running(folder / "database"))).uri
        host, port = uri_parser.parse_uri(uri)["nodelist"][0]
        driver = DRIVERS["motor"](f"{uri}{'&' if '?' in uri else '/?'}socketTimeoutMS={_SOCKET_TIMEOUT_MS}", None)
        stack.push_async_callback(driver.close)
        child = await stack.enter_async_context(
            children.running(sys.executable, "-m", "benchmarks.generator", log=folder / "generator.log")
        )
        yield Bench(
            uri=uri,
            is_embedded=options.mongodb_uri is None,
            database_pid=procfs.listener(port) if host in _LOOPBACK else None,
            driver=driver,
            generator=child,
            folder=folder,
        )


def note(line: str) -> None:
    """Print a line about the progress."""
    sys.stderr.write(line + "\n")
    sys.stderr.flush()


def _sample(answer: dict[str, Any]) -> Sample:
    if "failed" in answer:
        raise ChildError(answer["failed"])
    return Sample(**answer)
