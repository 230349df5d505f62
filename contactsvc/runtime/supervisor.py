"""Several processes on one port: a supervisor, which is this module, and its workers, which serve.

The kernel spreads connections over the workers (SO_REUSEPORT). Each is started fresh, since gRPC does not survive a
fork, and is a whole service of its own: server.py, with worker.py as its end of the line to here. The supervisor holds
the port, runs the embedded database, starts a worker that has died again, stops all of them together, and serves the
metrics of all. It knows nothing of gRPC and of the database, so that it is small and has little that could fail.
"""

from __future__ import annotations

import asyncio
import json
import logging
import random
import signal
import socket
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack
from typing import Any

from prometheus_client import CollectorRegistry, Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from contactsvc.config import Settings
from contactsvc.errors import ConfigurationError, StartupError
from contactsvc.runtime import embedded, port
from contactsvc.runtime.signals import Signals
from contactsvc.runtime.supervisor_link import LONGEST_MESSAGE, add_families, encoded
from contactsvc.telemetry import logs
from contactsvc.telemetry.metrics import AdminServer

# Seconds before a worker that has died is started again: doubled with each time, up to the second, less a random part.
_FIRST_PAUSE = 0.2
_LONGEST_PAUSE = 30.0
# A worker that has served for so many seconds is healthy: its next death is the first one again.
_HEALTHY = 30.0
# When no worker serves, and each has died so often in a row, starting them again does not help.
_PATIENCE = 5
# Seconds for what a worker does after its drain: its last writes, closing the database, and the interpreter's own end.
_END = 15.0
# Seconds for a worker to answer for its metrics.
_ANSWER = 2.0
# Every so many seconds a worker is asked whether it lives, and after so many without an answer it is killed: a probe
# reaches one worker by chance, so that nobody else would notice that its event loop hangs.
_LOOK = 5.0
_HANGS = 30.0

_STANDARD_ERROR = 2
_STATES = ("starting", "serving", "waiting")

_log = logging.getLogger(__name__)


async def supervise(settings: Settings, flags: Mapping[str, str | None], announce: Callable[[str], None]) -> None:
    """Serve by `settings.workers` processes until SIGTERM or SIGINT; a second signal stops without waiting for calls.

    Args:
        settings: what to serve, where, on which database.
        flags: the flags they were made of: the workers read them, and the environment, once more.
        announce: told the address once all workers answer.

    Raises:
        StartupError: the service cannot start, has lost its embedded database, or its workers die again and again.
    """
    logs.configure(as_json=settings.log_json, level=settings.log_level)
    signals = Signals()
    serving = asyncio.create_task(_supervise(settings, flags, announce, signals))
    early = asyncio.create_task(signals.before_start())
    await asyncio.wait([serving, early], return_when=asyncio.FIRST_COMPLETED)
    if not serving.done() and not signals.started:
        _log.info("stopped before the service had started")
        serving.cancel()
        await asyncio.wait([serving])
        return
    early.cancel()
    await serving


async def _supervise(
    settings: Settings, flags: Mapping[str, str | None], announce: Callable[[str], None], signals: Signals
) -> None:
    async with AsyncExitStack() as stack:
        address = await stack.enter_async_context(port.held(settings.listen))
        told = {**flags, "listen": str(address)}
        died: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        if settings.mongodb_uri is None:
            database = await stack.enter_async_context(embedded.running(settings.data_dir.absolute()))
            told["mongodb_uri"], died = database.uri, database.died
        workers = WorkerPool(settings.workers, told)
        stack.push_async_callback(workers.kill)
        if settings.admin_listen is not None:
            registry = CollectorRegistry()
            registry.register(_WorkerMetrics(workers, asyncio.get_running_loop()))
            stack.enter_context(AdminServer(registry, settings.admin_listen))
        given_up = workers.start()
        answering = asyncio.create_task(workers.all_serve())
        awaited: list[asyncio.Future[Any]] = [answering, given_up, died]
        await asyncio.wait(awaited, return_when=asyncio.FIRST_COMPLETED)
        if answering.done():
            signals.started = True
            announce(str(address))
        answering.cancel()
        stopping = asyncio.create_task(signals.next())
        awaited = [stopping, given_up, died]
        await asyncio.wait(awaited, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if given_up.done():
            raise given_up.result()
        if died.done():
            workers.tell_to_stop(2)
            await workers.end(_END)
            raise StartupError(died.result())
        _log.info("stopping all workers")
        workers.tell_to_stop(1)
        hurry = asyncio.create_task(signals.next())
        ended = asyncio.create_task(workers.end(settings.drain_wait + settings.drain_grace + _END))
        await asyncio.wait([hurry, ended], return_when=asyncio.FIRST_COMPLETED)
        if not ended.done():
            _log.warning("second signal: stopping at once")
            workers.tell_to_stop(2)
            await workers.end(_END)
        hurry.cancel()
        if workers.unclean:
            raise StartupError("; ".join(map(str, workers.unclean)))
    _log.info("stopped")


class WorkerPool:
    """The workers of a service.

    Attributes:
        all: the workers, by their numbers.
        unclean: how those have ended that were told to stop, and did not stop cleanly.

    Args:
        count: how many.
        flags: what `serve` was told.
        hangs: after how many seconds without an answer a worker is killed.
    """

    def __init__(self, count: int, flags: Mapping[str, str | None], hangs: float = _HANGS) -> None:
        self.all = [WorkerProcess(number, flags, hangs) for number in range(count)]
        self.unclean: list[StartupError] = []
        self._lives: list[asyncio.Task[None]] = []
        self._stopping = False
        self._given_up: asyncio.Future[StartupError] = asyncio.get_running_loop().create_future()

    def start(self) -> asyncio.Future[StartupError]:
        """Start all; return what is done, with an error that says why, when there is no use in going on."""
        self._lives = [asyncio.create_task(self._keep(worker)) for worker in self.all]
        for life in self._lives:
            life.add_done_callback(self._notice_failure)
        return self._given_up

    async def all_serve(self) -> None:
        """Wait until all have served."""
        for worker in self.all:
            await worker.has_served.wait()

    def tell_to_stop(self, signals: int) -> None:
        """Start none again, and stop those that run: with 1 they drain, with 2 they stop at once."""
        self._stopping = True
        for worker, life in zip(self.all, self._lives, strict=True):
            if worker.state == "waiting":
                life.cancel()
            worker.tell_to_stop(signals)

    async def end(self, patience: float) -> None:
        """Wait until all have stopped, as they were told, and kill those that have not after so many seconds."""
        _, late = await asyncio.wait(self._lives, timeout=patience)
        if late:
            _log.error("%d workers have not stopped after %g s: killing them", len(late), patience)
            self.unclean.append(StartupError(f"{len(late)} workers had to be killed, for they did not stop"))
            await self.kill()

    async def kill(self) -> None:
        """End all that there still are, at once."""
        for life in self._lives:
            life.cancel()
        await asyncio.gather(*self._lives, return_exceptions=True)

    async def families(self) -> list[Metric]:
        """Return the metrics of all workers that answer for them, the worker's number on every sample."""
        answers = await asyncio.gather(*(worker.families() for worker in self.all))
        merged: dict[str, Metric] = {}
        for worker, families in zip(self.all, answers, strict=True):
            add_families(families, worker.number, merged)
        return list(merged.values())

    async def _keep(self, worker: WorkerProcess) -> None:
        """Run a worker again and again.

        WorkerProcess 0 goes first: it makes the indexes, and what it cannot do none of them can.
        """
        go = None if worker.number == 0 else self.all[0].has_served
        while True:
            why = await worker.run(go)
            if self._stopping:
                if not worker.ended_cleanly:
                    _log.error("%s", why)
                    self.unclean.append(why)
                return
            if not worker.has_served.is_set() or self._hopeless():
                self._give_up(why)
                return
            pause = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2 ** (worker.failures - 1)) * random.uniform(0.5, 1)  # noqa: S311
            _log.error("%s; starting it again in %.1f s", why, pause)
            worker.state = "waiting"
            await asyncio.sleep(pause)
            worker.restarts += 1

    def _hopeless(self) -> bool:
        return all(worker.state != "serving" and worker.failures >= _PATIENCE for worker in self.all)

    def _give_up(self, why: StartupError) -> None:
        if not self._given_up.done():
            self._given_up.set_result(why)

    def _notice_failure(self, life: asyncio.Task[None]) -> None:
        if not life.cancelled() and (failure := life.exception()) is not None:
            _log.error("the supervision of a worker has failed", exc_info=failure)
            self._give_up(StartupError("the supervision of a worker has failed; the log above says more"))


class WorkerProcess:
    """One of the workers, through all its lives.

    Args:
        number: which one it is.
        flags: what `serve` was told.
        hangs: after how many seconds without an answer it is killed.

    Attributes:
        state: "starting", "serving", or "waiting" for the time of its start.
        has_served: whether it has ever begun to serve.
        restarts: how often it was started again.
        failures: how often in a row it has ended without having been healthy.
        ended_cleanly: whether its last end was that of a drain, or before it served.
    """

    def __init__(self, number: int, flags: Mapping[str, str | None], hangs: float = _HANGS) -> None:
        self.number = number
        self._hangs = hangs
        self.state = "starting"
        self.has_served = asyncio.Event()
        self.restarts = 0
        self.failures = 0
        self.ended_cleanly = False
        self._first_word = {"worker": number, "flags": dict(flags)}
        self._signals = 0
        self._line: asyncio.StreamWriter | None = None
        self._asked: dict[int, asyncio.Future[list[Any]]] = {}
        self._questions = 0

    def tell_to_stop(self, signals: int) -> None:
        """Say that it shall stop: with 1 it drains, with 2 it stops at once."""
        self._signals = signals
        self._send({"signals": signals})

    async def run(self, go: asyncio.Event | None) -> StartupError:
        """Run it once; return how it ended, in words and an exit code for people.

        Args:
            go: what to wait for after its interpreter is up, before it begins.
        """
        self.state = "starting"
        ours, theirs = socket.socketpair()
        try:
            with theirs:
                process = await asyncio.create_subprocess_exec(
                    *(sys.executable, "-m", "contactsvc", "worker"),
                    stdin=theirs.fileno(),
                    # The one line on standard output is the supervisor's.
                    stdout=_STANDARD_ERROR,
                    # Out of the terminal's process group: Ctrl-C is for the supervisor.
                    start_new_session=True,
                )
        except OSError as error:
            ours.close()
            self.failures += 1
            return StartupError(f"worker {self.number} cannot be started: {error.strerror}")
        began = asyncio.get_running_loop().time()
        failed: StartupError | None = None
        watch = asyncio.create_task(self._watch(process))
        try:
            reader, self._line = await asyncio.open_unix_connection(sock=ours, limit=LONGEST_MESSAGE)
            if go is not None and not go.is_set():
                self.state = "waiting"
                await go.wait()
                self.state = "starting"
            self._send(self._first_word)
            if self._signals:
                self._send({"signals": self._signals})
            while line := await _line_of(reader):
                message = json.loads(line)
                if "failed" in message:
                    kind = ConfigurationError if message["exit_code"] == ConfigurationError.exit_code else StartupError
                    failed = kind(message["failed"])
                elif "answer" in message:
                    if (question := self._asked.get(message["answer"])) is not None and not question.done():
                        question.set_result(message["families"])
                else:
                    began = asyncio.get_running_loop().time()
                    self.state = "serving"
                    self.has_served.set()
            # The line ends with the process.
            code = await process.wait()
        finally:
            watch.cancel()
            if self._line is not None:
                self._line.close()
                self._line = None
            if process.returncode is None:
                process.kill()
                await process.wait()
        served = self.state == "serving"
        healthy = served and asyncio.get_running_loop().time() - began >= _HEALTHY
        self.failures = 1 if healthy else self.failures + 1
        self.state = "starting"
        # Whoever stops a service may send the signal to its workers as well, also to one that does not know it yet.
        self.ended_cleanly = code == 0 or (code == -signal.SIGTERM and not served)
        if failed is not None:
            return failed
        if self.ended_cleanly:
            return StartupError(f"worker {self.number} was stopped")
        how = f"by signal {signal.Signals(-code).name}" if code < 0 else f"with exit code {code}"
        return StartupError(f"worker {self.number} ended {how}; the log above may say more")

    async def families(self) -> list[Any]:
        """Return its metrics, or none when it does not serve or does not answer in time."""
        if self.state != "serving":
            return []
        try:
            return await self._ask("metrics", _ANSWER)
        except TimeoutError:
            return []

    async def _watch(self, process: asyncio.subprocess.Process) -> None:
        """Kill the process when its event loop hangs."""
        while True:
            await asyncio.sleep(min(_LOOK, self._hangs))
            if self.state != "serving":
                continue
            try:
                await self._ask("life", self._hangs)
            except TimeoutError:
                _log.error("worker %d has not answered for %g s: killing it", self.number, self._hangs)
                process.kill()
                return

    async def _ask(self, about: str, patience: float) -> list[Any]:
        self._questions += 1
        number = self._questions
        answer = self._asked[number] = asyncio.get_running_loop().create_future()
        self._send({"question": number, "about": about})
        try:
            async with asyncio.timeout(patience):
                families: list[Any] = await answer
        finally:
            del self._asked[number]
        return families

    def _send(self, message: dict[str, Any]) -> None:
        if self._line is not None:
            self._line.write(encoded(message))


async def _line_of(reader: asyncio.StreamReader) -> bytes:
    """Return the next line, or nothing at the end, also of a process that was killed while it had something to read."""
    try:
        line = await reader.readline()
    except ConnectionError:
        return b""
    # What was cut off by its death is no message.
    return line if line.endswith(b"\n") else b""


class _WorkerMetrics(Collector):
    """The metrics of all workers, collected from them at every scrape, in the thread that serves it."""

    def __init__(self, workers: WorkerPool, loop: asyncio.AbstractEventLoop) -> None:
        self._workers = workers
        self._loop = loop

    def collect(self) -> Iterable[Metric]:
        yield from supervision(self._workers.all)
        yield from asyncio.run_coroutine_threadsafe(self._workers.families(), self._loop).result(2 * _ANSWER)


def supervision(workers: Sequence[WorkerProcess]) -> Iterable[Metric]:
    """Return what only the supervisor knows of its workers."""
    states = GaugeMetricFamily("contactsvc_workers", "Workers by what they are doing.", labels=["state"])
    for state in _STATES:
        states.add_metric([state], sum(worker.state == state for worker in workers))
    restarts = CounterMetricFamily(
        "contactsvc_worker_restarts", "How often a worker was started again.", labels=["worker"]
    )
    for worker in workers:
        restarts.add_metric([str(worker.number)], worker.restarts)
    return [states, restarts]
