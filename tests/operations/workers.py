"""Services of several workers, as their operator and their callers see them."""

from __future__ import annotations

import asyncio
import re
import signal
import sys
import urllib.request
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from contactsvc_client import AsyncContactsClient
from prometheus_client.parser import text_string_to_metric_families

from contactsvc.config import ListenAddress
from contactsvc.errors import StartupError
from contactsvc.runtime import port
from contactsvc.runtime.worker_pool import WorkerPool
from contactsvc.runtime.worker_process import RestartPolicy
from tests.conftest import DRIVER
from tests.integration.service_process import ended, launch

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="other systems have one worker")

# Longer than any step takes on a busy machine.
TIMEOUT_SECONDS = 60
# One connection per client, so that the kernel spreads them.
OWN_CONNECTION = [("grpc.use_local_subchannel_pool", 1)]


class Service:
    """A running service and its log."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.address = ""
        self.log: list[str] = []
        self._reading = asyncio.create_task(self._read())
        self._more = asyncio.Condition()

    async def _read(self) -> None:
        assert self.process.stderr is not None
        while line := (await self.process.stderr.readline()).decode():
            async with self._more:
                self.log.append(line)
                self._more.notify_all()

    async def logs(self, text: str) -> str:
        """Wait for a line with this text."""
        async with asyncio.timeout(TIMEOUT_SECONDS), self._more:
            await self._more.wait_for(lambda: any(text in line for line in self.log))
        return next(line for line in self.log if text in line)

    async def code(self) -> int:
        """Wait for the end; return the exit code."""
        async with asyncio.timeout(TIMEOUT_SECONDS):
            await self._reading
            return await self.process.wait()

    async def stopped(self) -> int:
        """Stop the service; return the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return await self.code()

    @property
    def workers(self) -> set[int]:
        """Process ids of the workers."""
        return children_of(self.process.pid, "worker")

    async def metrics(self) -> dict[tuple[str, str], float]:
        """Return the samples, summed by name and worker."""
        url = re.findall(r"http://\S+/metrics", await self.logs("/metrics"))[0]
        text = (await asyncio.to_thread(lambda: urllib.request.urlopen(url).read())).decode()  # noqa: S310
        sums: dict[tuple[str, str], float] = {}
        for family in text_string_to_metric_families(text):
            assert text.count(f"# TYPE {family.name} ") + text.count(f"# TYPE {family.name}_total ") == 1
            for sample in family.samples:
                key = (sample.name, sample.labels.get("worker", sample.labels.get("state", "")))
                sums[key] = sums.get(key, 0) + sample.value
        return sums


def commands(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/cmdline").read_text().split("\0")


def children_of(pid: int, command: str) -> set[int]:
    children = set()
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        try:
            if command in commands(int(child)):
                children.add(int(child))
        except OSError:
            continue
    return children


def database_of(service: Service) -> int:
    """Return the process id of the embedded database."""
    (database,) = children_of(service.process.pid, "contactsvc.runtime.embedded_child")
    return database


def alive(pid: int) -> bool:
    try:
        # Zombies have ended.
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(TIMEOUT_SECONDS):
        while not condition():  # noqa: ASYNC110 - the condition depends on another process
            await asyncio.sleep(0.02)


@asynccontextmanager
async def two_workers(data_dir: Path, *flags: str, **environ: str) -> AsyncIterator[Service]:
    """Run a service of two workers on an embedded database."""
    service = Service(await launch("--workers", "2", "--data-dir", str(data_dir), *flags, **environ))
    assert service.process.stdout is not None
    try:
        async with asyncio.timeout(TIMEOUT_SECONDS):
            line = (await service.process.stdout.readline()).decode()
        assert line.startswith("contactsvc listening on "), service.log
        service.address = line.split()[-1]
        yield service
        rest = await service.process.stdout.read() if service.process.returncode is not None else b""
        assert rest == b""
    finally:
        if service.process.returncode is None:
            service.process.kill()
            await service.code()


class RunningPool:
    """The workers of a service without its supervisor process.

    Attributes:
        address: where they serve.
        pool: the workers.
        given_up: resolves when the pool gives up.
    """

    def __init__(self, address: str, pool: WorkerPool) -> None:
        self.address = address
        self.pool = pool
        self.given_up: asyncio.Future[StartupError] = pool.start()

    async def serve(self) -> None:
        """Wait until all workers have accepted calls."""
        async with asyncio.timeout(TIMEOUT_SECONDS):
            await self.pool.all_serve()

    @property
    def processes(self) -> set[int]:
        """Process ids of the workers."""
        return {pid for worker in self.pool.workers if (pid := worker.pid) is not None}


@asynccontextmanager
async def running_pool(
    uri: str, flags: dict[str, str] | None = None, *, host: str = "127.0.0.1", policy: RestartPolicy | None = None
) -> AsyncIterator[RunningPool]:
    """Run two workers on a database, in place of a supervisor; kill them after the block."""
    async with port.held(ListenAddress(host, 0)) as address:
        settings = {"listen": str(address), "mongodb_uri": uri, "driver": DRIVER, **(flags or {})}
        running = RunningPool(str(address), WorkerPool(2, settings, policy))
        try:
            yield running
        finally:
            await running.pool.kill()


@asynccontextmanager
async def clients(address: str, count: int = 8, **options: Any) -> AsyncIterator[list[AsyncContactsClient]]:
    """Open several connections; all of them reach the same worker with a probability of 2 ** (1 - count)."""
    options = {"channel_options": OWN_CONNECTION, **options}
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(AsyncContactsClient(address, **options)) for _ in range(count)]


async def refused(*flags: str, **environ: str) -> tuple[int, str, str]:
    """Start a service that fails to start; return its exit code, output and errors."""
    process = await launch(*flags, **environ)
    try:
        async with asyncio.timeout(TIMEOUT_SECONDS):
            return await ended(process)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


class Writers:
    """Callers that create one record after another."""

    def __init__(self, sdks: list[AsyncContactsClient]) -> None:
        self.acknowledged: list[str] = []
        self._stop = False
        self._tasks = [asyncio.create_task(self._write(sdk, number)) for number, sdk in enumerate(sdks)]

    async def _write(self, sdk: AsyncContactsClient, number: int) -> None:
        count = 0
        while not self._stop:
            made = await sdk.contact_methods.create(client_id="c", type="other", value=f"{number}/{count}")
            self.acknowledged.append(made.id)
            count += 1

    async def have_written(self, count: int) -> None:
        """Wait for this many further records, or for the failure of a caller."""
        wanted = len(self.acknowledged) + count
        await until(lambda: len(self.acknowledged) >= wanted or any(task.done() for task in self._tasks))

    async def stop(self) -> None:
        """Wait for the last calls; raise the error of a failed one."""
        self._stop = True
        await asyncio.gather(*self._tasks)
