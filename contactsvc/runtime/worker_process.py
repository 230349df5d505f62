"""One worker of a supervisor, over all of its restarts."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from contactsvc.errors import ConfigurationError, StartupError
from contactsvc.runtime.signals import describe_exit
from contactsvc.runtime.worker_protocol import MAX_MESSAGE_BYTES, encode, read_message

_METRICS_TIMEOUT_SECONDS = 2.0
_STANDARD_ERROR = 2

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class RestartPolicy:
    """When workers are killed and restarted; times in seconds.

    Attributes:
        first_pause: pause before a restart; doubles with every failure in a row, less a random part.
        max_pause: upper bound of the pause.
        max_failures: when no worker serves and each has failed this often in a row, the service gives up.
        healthy_after: a worker that has served for this long is healthy: its next failure counts as the first.
        check_interval: time between checks that a worker responds.
        hang_timeout: a worker that does not respond for this long is killed. Health probes cannot replace this: each
            reaches only one worker, at random.
    """

    first_pause: float = 0.2
    max_pause: float = 30.0
    max_failures: int = 5
    healthy_after: float = 30.0
    check_interval: float = 5.0
    hang_timeout: float = 30.0


class WorkerProcess:
    """A worker, over all of its restarts.

    Args:
        number: of the worker.
        flags: flags of `serve`.
        policy: when it is killed and restarted.

    Attributes:
        state: "starting", "serving", or "waiting" for its turn to start.
        has_served: set once it has accepted calls.
        restarts: number of restarts.
        failures: failures in a row, without a healthy run in between.
        pid: id of the running process; None when there is none.
        ended_cleanly: whether the last run ended by a drain, or by a stop before it served.
        served: whether the last run accepted calls.
    """

    def __init__(self, number: int, flags: Mapping[str, str | None], policy: RestartPolicy | None = None) -> None:
        self.number = number
        self._policy = policy or RestartPolicy()
        self.state = "starting"
        self.has_served = asyncio.Event()
        self.restarts = 0
        self.failures = 0
        self.pid: int | None = None
        self.ended_cleanly = False
        self.served = False
        self._first_message = {"worker": number, "flags": dict(flags)}
        self._signals = 0
        self._writer: asyncio.StreamWriter | None = None
        self._questions: dict[int, asyncio.Future[list[Any]]] = {}
        self._asked = 0

    def stop(self, signals: int) -> None:
        """Request a stop: 1 drains, 2 stops at once."""
        self._signals = signals
        self._send({"signals": signals})

    async def run(self, go: asyncio.Event | None) -> StartupError:
        """Run the process once; return why it ended, with a message and an exit code for the operator.

        Args:
            go: the worker loads its modules at once, but starts to serve only after this event.
        """
        self.state = "starting"
        ours, theirs = socket.socketpair()
        try:
            with theirs:
                process = await asyncio.create_subprocess_exec(
                    *(sys.executable, "-m", "contactsvc", "worker"),
                    stdin=theirs.fileno(),
                    # Standard output carries one line only, which the supervisor prints.
                    stdout=_STANDARD_ERROR,
                    # Outside the terminal's process group: Ctrl-C goes to the supervisor.
                    start_new_session=True,
                )
        except OSError as error:
            ours.close()
            self.failures += 1
            return StartupError(f"worker {self.number} cannot be started: {error.strerror}")
        self.pid = process.pid
        loop = asyncio.get_running_loop()
        began = loop.time()
        failure: StartupError | None = None
        watch = asyncio.create_task(self._watch(process))
        try:
            reader, self._writer = await asyncio.open_unix_connection(sock=ours, limit=MAX_MESSAGE_BYTES)
            # After a stop, `go` may never come: a worker that receives both at once does not serve.
            if go is not None and not go.is_set() and not self._signals:
                self.state = "waiting"
                await go.wait()
                self.state = "starting"
            self._send(self._first_message)
            if self._signals:
                self._send({"signals": self._signals})
            while (message := await _next_message(reader)) is not None:
                if "failed" in message:
                    failure = _failure(message)
                elif "answer" in message:
                    self._answered(message)
                else:
                    began = loop.time()
                    self.state = "serving"
                    self.has_served.set()
            # The stream ends with the process.
            code = await process.wait()
        finally:
            watch.cancel()
            if self._writer is not None:
                self._writer.close()
                self._writer = None
            if process.returncode is None:
                process.kill()
                await process.wait()
            self.pid = None
        self.served = self.state == "serving"
        healthy = self.served and loop.time() - began >= self._policy.healthy_after
        self.failures = 1 if healthy else self.failures + 1
        self.state = "starting"
        # A process manager may signal the whole process group, including a worker without a handler yet.
        self.ended_cleanly = code == 0 or (code == -signal.SIGTERM and not self.served)
        if failure is not None:
            return failure
        if self.ended_cleanly:
            return StartupError(f"worker {self.number} was stopped")
        return StartupError(f"worker {self.number} ended {describe_exit(code)}; see the log above")

    async def families(self) -> list[Any]:
        """Return the metrics of the worker; none when it is not serving or does not answer in time."""
        if self.state != "serving":
            return []
        try:
            return await self._ask("metrics", _METRICS_TIMEOUT_SECONDS)
        except TimeoutError:
            return []

    async def _watch(self, process: asyncio.subprocess.Process) -> None:
        """Kill the process when its event loop hangs."""
        while True:
            await asyncio.sleep(self._policy.check_interval)
            if self.state != "serving":
                continue
            try:
                await self._ask("life", self._policy.hang_timeout)
            except TimeoutError:
                _log.error("worker %d has not responded for %g s: killing it", self.number, self._policy.hang_timeout)
                process.kill()
                return

    async def _ask(self, about: str, timeout: float) -> list[Any]:
        self._asked += 1
        number = self._asked
        answer = self._questions[number] = asyncio.get_running_loop().create_future()
        self._send({"question": number, "about": about})
        try:
            async with asyncio.timeout(timeout):
                families: list[Any] = await answer
        finally:
            del self._questions[number]
        return families

    def _answered(self, message: Mapping[str, Any]) -> None:
        question = self._questions.get(message["answer"])
        if question is not None and not question.done():
            question.set_result(message["families"])

    def _send(self, message: dict[str, Any]) -> None:
        if self._writer is not None:
            self._writer.write(encode(message))


async def _next_message(reader: asyncio.StreamReader) -> dict[str, Any] | None:
    """Return the next message; None at the end, even when the worker was killed before it had read everything."""
    try:
        return await read_message(reader)
    except ConnectionError:
        return None


def _failure(message: Mapping[str, Any]) -> StartupError:
    kind = ConfigurationError if message["exit_code"] == ConfigurationError.exit_code else StartupError
    return kind(message["failed"])
