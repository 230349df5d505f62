"""The test stand: three services and a database, with proxies between them.

    callers --- proxy --- service "one"  (a process)             --- proxy --- database (a process)
            --- proxy --- service "two"  (a supervisor, 2 workers) --- proxy ---
            --- proxy --- service "here" (in this process)        --- proxy ---

Three services share one database, as on three machines. The service in this process has injectable database errors and
an adjustable clock.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import grpc

from contactsvc import store
from contactsvc.config import ListenAddress
from contactsvc.domain.clock import now_utc
from contactsvc.domain.normalization import ValueRules
from contactsvc.runtime import embedded
from contactsvc.runtime.server import Server
from contactsvc.v1 import contact_methods_pb2_grpc as pb_grpc
from tests.robustness.faults import processes
from tests.robustness.faults.disk import Disk
from tests.robustness.faults.injection import ErrorPlan, faulty_stores
from tests.robustness.faults.proxy import Proxy, mongodb_message, proxied

PREFIX = "robust"

# Clients reconnect soon after a service has restarted.
_CHANNEL: list[tuple[str, Any]] = [
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 1_000),
    ("grpc.max_reconnect_backoff_ms", 500),
]
_START_TIMEOUT_SECONDS = 60.0
_STOP_TIMEOUT_SECONDS = 40.0


@dataclass(slots=True)
class Database:
    """The embedded database, which can be killed and restarted.

    Attributes:
        directory: its data directory.
        address: its address; the port changes with each start.
        password: its password, which stays.
    """

    directory: Path
    address: str = ""
    password: str = field(default="", repr=False)
    _running: AsyncExitStack = field(default_factory=AsyncExitStack)

    async def start(self) -> None:
        """Start it."""
        database = await self._running.enter_async_context(embedded.running(self.directory))
        self.address, self.password = database.address, database.password

    def kill(self) -> None:
        """Kill it with SIGKILL."""
        # It may have exited already.
        for pid in self._pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    async def stop(self) -> None:
        """Stop it, or wait for the killed process."""
        await self._running.aclose()
        self._running = AsyncExitStack()

    @property
    def uri(self) -> str:
        """The URI for drivers."""
        return embedded.uri_of(self.address, self.password)

    @property
    def pid(self) -> int:
        """Its process id."""
        (pid,) = self._pids
        return pid

    @property
    def _pids(self) -> list[int]:
        return processes.with_argument(str(self.directory / "database"))


class Service:
    """A service behind a proxy, with another proxy between it and the database.

    Attributes:
        name: its name.
        front: the proxy between callers and service.
        back: the proxy between service and database.
    """

    def __init__(self, name: str, front: Proxy, back: Proxy, password: str) -> None:
        self.name = name
        self.front = front
        self.back = back
        self._password = password

    @property
    def uri(self) -> str:
        """The URI of the database for this service."""
        bounds = "serverSelectionTimeoutMS=2000&connectTimeoutMS=2000&socketTimeoutMS=4000"
        return f"{embedded.uri_of(self.back.target, self._password)}&{bounds}"


class ServiceProcess(Service):
    """A service in one or more processes of its own."""

    def __init__(self, name: str, front: Proxy, back: Proxy, password: str, *, workers: int, log: Path) -> None:
        super().__init__(name, front, back, password)
        self.workers = workers
        self._log = log
        self.process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Start it and wait until it answers; retry, as operators do, if another fault prevents the start."""
        deadline = asyncio.get_running_loop().time() + _START_TIMEOUT_SECONDS
        while not await self._started():
            if asyncio.get_running_loop().time() > deadline:
                raise RuntimeError(f"service {self.name} does not start; see {self._log}")

    async def _started(self) -> bool:
        clean = {name: value for name, value in os.environ.items() if not name.startswith("CONTACTSVC_")}
        settings = {
            "CONTACTSVC_LISTEN": "127.0.0.1:0",
            "CONTACTSVC_WORKERS": str(self.workers),
            "CONTACTSVC_MONGODB_URI": self.uri,
            "CONTACTSVC_DATABASE": PREFIX,
            "CONTACTSVC_LOG_LEVEL": "WARNING",
        }
        with self._log.open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "contactsvc", "serve"),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                env={**clean, **settings},
            )
        assert self.process.stdout is not None
        async with asyncio.timeout(_START_TIMEOUT_SECONDS):
            line = (await self.process.stdout.readline()).decode()
        if not line.startswith("contactsvc listening on "):
            await self.process.wait()
            return False
        self.front.upstream = line.split()[-1]
        return True

    def kill(self) -> None:
        """Kill it with SIGKILL; its workers exit when the pipe to their supervisor closes."""
        assert self.process is not None
        self.process.kill()

    async def ended(self) -> int:
        """Wait until it has exited; return the exit code."""
        assert self.process is not None
        try:
            async with asyncio.timeout(_STOP_TIMEOUT_SECONDS):
                return await self.process.wait()
        except TimeoutError:
            self.process.kill()
            await self.process.wait()
            raise RuntimeError(f"service {self.name} has not stopped within {_STOP_TIMEOUT_SECONDS:g} s") from None

    @property
    def worker_pids(self) -> list[int]:
        """The ids of its worker processes."""
        assert self.process is not None
        return processes.children(self.process.pid)

    @property
    def pids(self) -> list[int]:
        """The ids of all its processes."""
        assert self.process is not None
        return [self.process.pid, *self.worker_pids]


class Clock:
    """An adjustable clock.

    Attributes:
        ahead: its deviation from the real time.
    """

    def __init__(self) -> None:
        self.ahead = timedelta()

    def __call__(self) -> datetime:
        """Return the time of this clock."""
        return now_utc() + self.ahead


class ServiceHere(Service):
    """A service in this process, with injectable faults.

    Attributes:
        plan: the database errors to inject.
        clock: the clock of its timestamps.
    """

    def __init__(self, name: str, front: Proxy, back: Proxy, password: str) -> None:
        super().__init__(name, front, back, password)
        self.plan = ErrorPlan()
        self.clock = Clock()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Serve until the end of the block."""
        deployment = await store.connect(self.uri, "motor")
        try:
            stores = await faulty_stores(deployment, PREFIX, self.plan)
            server = Server(stores, ValueRules(), clock=self.clock)
            self.front.upstream = str(await server.start(ListenAddress("127.0.0.1", 0)))
            try:
                yield
            finally:
                if await server.stop(5):
                    raise RuntimeError("unfinished writes after the stop")
        finally:
            await deployment.close()


@dataclass(slots=True)
class Stand:
    """Everything under test.

    Attributes:
        database: the database.
        one: a service of one process.
        two: a service of two workers.
        here: the service in this process.
        disk: the small disk of the data directory; None if it could not be mounted.
        why_no_disk: the reason, in that case.
    """

    database: Database
    one: ServiceProcess
    two: ServiceProcess
    here: ServiceHere
    disk: Disk | None
    why_no_disk: str

    @property
    def services(self) -> list[Service]:
        """All services."""
        return [self.one, self.two, self.here]

    async def restart_database(self) -> None:
        """Restart the database and redirect the services to it."""
        await self.database.stop()
        await self.database.start()
        for service in self.services:
            service.back.upstream = self.database.address

    @asynccontextmanager
    async def stubs(self, per_service: int = 4) -> AsyncIterator[list[tuple[str, Any]]]:
        """Connect to every service several times, so that every worker gets callers."""
        async with AsyncExitStack() as stack:
            stubs = []
            for _ in range(per_service):
                for service in self.services:
                    channel = grpc.aio.insecure_channel(service.front.target, options=_CHANNEL)
                    await stack.enter_async_context(channel)
                    stub = pb_grpc.ContactMethodsServiceStub(channel)  # type: ignore[no-untyped-call]
                    stubs.append((service.name, stub))
            yield stubs


@asynccontextmanager
async def standing(directory: Path) -> AsyncIterator[Stand]:
    """Run the stand until the end of the block; logs go to the directory."""
    async with AsyncExitStack() as stack:
        data = Path(stack.enter_context(TemporaryDirectory(prefix="contactsvc-robustness-data-")))
        disk, why_no_disk = stack.enter_context(Disk.mounted(data / "disk"))
        database = Database(data / "disk" / "data")
        await database.start()
        stack.push_async_callback(database.stop)
        fronts = [await stack.enter_async_context(proxied("127.0.0.1:9")) for _ in range(3)]
        backs = [await stack.enter_async_context(proxied(database.address, mongodb_message)) for _ in range(3)]
        one = ServiceProcess("one", fronts[0], backs[0], database.password, workers=1, log=directory / "one.log")
        two = ServiceProcess("two", fronts[1], backs[1], database.password, workers=2, log=directory / "two.log")
        here = ServiceHere("here", fronts[2], backs[2], database.password)
        for service in (one, two):
            stack.push_async_callback(_end, service)
            await service.start()
        await stack.enter_async_context(here.running())
        yield Stand(database, one, two, here, disk, why_no_disk)


async def _end(service: ServiceProcess) -> None:
    if service.process is not None and service.process.returncode is None:
        with suppress(ProcessLookupError):
            service.process.kill()
        await service.process.wait()
