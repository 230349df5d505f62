"""The bench: the database, its data and the load generator, ready to measure servers that are started on it."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pymongo import uri_parser

from benchmarks import children, data, generator, procfs
from benchmarks.cases import Case
from benchmarks.children import Child, ChildError
from benchmarks.http2 import messages
from benchmarks.options import Options
from benchmarks.sampling import Sample
from benchmarks.servers import Contestant
from contactsvc.runtime import embedded
from contactsvc.store import DRIVERS, Driver

# A batch takes a third of a second.
_SHORTEST_OF_LARGE_CALLS = 2.0
# Milliseconds, for filling.
_PATIENCE = 600_000
_LOOPBACK = {"127.0.0.1", "localhost", "::1"}


class WrongAnswer(Exception):
    """A server answers something else than it should, so that it makes no sense to measure it."""


@dataclass(frozen=True, kw_only=True)
class Bench:
    """What measurements need.

    Attributes:
        uri: the database.
        is_embedded: whether it is SecantusDB, started for this run.
        database_pid: its process; None when it runs elsewhere.
        driver: fills it and cleans up.
        generator: makes the calls.
        folder: for files, until the end of the run.
    """

    uri: str
    is_embedded: bool
    database_pid: int | None
    driver: Driver
    generator: Child
    folder: Path

    async def fill(self, database: str, records: int, *, start: int = 0) -> None:
        """Make a database with this many records, of which it has the first `start` already."""
        note(f"filling {database} with {records:,} records ...")
        if not self.is_embedded and not start:
            # The embedded one is new, and slow at dropping.
            await data.drop(self.driver, database)
        await data.fill(self.driver, database, records, start=start)

    async def drop(self, database: str) -> None:
        """Remove a database, where that is not done by removing everything."""
        if not self.is_embedded:
            await data.drop(self.driver, database)

    async def write_requests(self, case: Case) -> None:
        """Lay out the requests of a case for the generator."""
        generator.write_requests(self._requests(case, "grpc"), case.messages)
        generator.write_requests(self._requests(case, "http"), case.http)

    async def answer_of(self, server: Contestant, case: Case) -> list[bytes]:
        """Make one call; return the messages of its answer, or its JSON.

        Raises:
            WrongAnswer: it is not right.
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
                raise WrongAnswer(f"{server.name} answers {case.name} with something else than it should")
        return got

    async def measure(self, server: Contestant, case: Case, in_flight: int, options: Options, database: str) -> Sample:
        """Measure a case on a server once, and remove what it has written."""
        if case.items > 1:
            options = replace(options, seconds=max(options.seconds, _SHORTEST_OF_LARGE_CALLS))
        if server.name == "driver":
            order: dict[str, Any] = {
                "what": "insert_many" if case.writes else "cursor",
                "name": f"{database}_live" if case.writes else f"{database}_test",
                "size": case.items if case.writes else 200,
                "count": case.items,
                "warmup": options.warmup,
                "seconds": options.seconds,
                "database": self.database_pid,
            }
            sample = _sample(await server.child.ask(order))
        else:
            sample = await self._load(server, case, in_flight=in_flight, calls=case.calls, options=options)
        if case.writes:
            await data.remove_new(self.driver, f"{database}_live")
        return sample

    async def _load(
        self,
        server: Contestant,
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
            with_request_id=case.with_request_id,
            in_flight=in_flight,
            warmup=options.warmup if options else 0,
            seconds=options.seconds if options else 0,
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
    """Start database and generator until the end of the block."""
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="contactsvc-bench-")))
        uri = options.mongodb_uri
        if uri is None:
            uri = (await stack.enter_async_context(embedded.running(folder / "database"))).uri
        host, port = uri_parser.parse_uri(uri)["nodelist"][0]
        # SecantusDB was seen to stand still for more than the usual 30 s while a million records were written, and it
        # inserts again what the driver repeats after a timeout.
        patient = f"{uri}{'&' if '?' in uri else '/?'}socketTimeoutMS={_PATIENCE}"
        driver = DRIVERS["motor"](patient, None)
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
    """Tell whoever waits what is going on."""
    sys.stderr.write(line + "\n")
    sys.stderr.flush()


def _sample(answer: dict[str, Any]) -> Sample:
    if "failed" in answer:
        raise ChildError(answer["failed"])
    return Sample(**answer)
