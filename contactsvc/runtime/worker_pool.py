"""The workers of a supervisor: starts, restarts and stops them."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Mapping

from prometheus_client import Metric

from contactsvc.errors import StartupError
from contactsvc.runtime.worker_metrics import add_families
from contactsvc.runtime.worker_process import RestartPolicy, WorkerProcess

_log = logging.getLogger(__name__)


class WorkerPool:
    """The workers of a service.

    Args:
        count: number of workers.
        flags: flags of `serve`.
        policy: when workers are killed and restarted.

    Attributes:
        workers: the workers, by number.
        unclean: errors of the workers that did not stop cleanly when asked to.
    """

    def __init__(self, count: int, flags: Mapping[str, str | None], policy: RestartPolicy | None = None) -> None:
        self._policy = policy or RestartPolicy()
        self.workers = [WorkerProcess(number, flags, self._policy) for number in range(count)]
        self.unclean: list[StartupError] = []
        self._supervision: list[asyncio.Task[None]] = []
        self._stopping = False
        self._given_up: asyncio.Future[StartupError] = asyncio.get_running_loop().create_future()

    @property
    def ended(self) -> set[int]:
        """Numbers of the workers that have ended for good."""
        return {worker.number for worker, task in zip(self.workers, self._supervision, strict=True) if task.done()}

    def start(self) -> asyncio.Future[StartupError]:
        """Start all workers; return a future that resolves to the reason when restarts no longer help."""
        self._supervision = [asyncio.create_task(self._supervise(worker)) for worker in self.workers]
        for task in self._supervision:
            task.add_done_callback(self._on_supervision_end)
        return self._given_up

    async def all_serve(self) -> None:
        """Wait until every worker has accepted calls."""
        for worker in self.workers:
            await worker.has_served.wait()

    def stop(self, signals: int) -> None:
        """Restart no worker from now on, and stop the running ones: 1 drains, 2 stops at once."""
        self._stopping = True
        for worker, task in zip(self.workers, self._supervision, strict=True):
            if worker.state == "waiting":
                task.cancel()
            worker.stop(signals)

    async def end(self, timeout: float) -> None:
        """Wait for the end of all workers after `stop`; kill those that still run after `timeout` seconds."""
        _, late = await asyncio.wait(self._supervision, timeout=timeout)
        if late:
            _log.error("%d workers have not stopped after %g s: killing them", len(late), timeout)
            self.unclean.append(StartupError(f"{len(late)} workers did not stop and were killed"))
            await self.kill()

    async def kill(self) -> None:
        """Kill all workers that still run."""
        for task in self._supervision:
            task.cancel()
        await asyncio.gather(*self._supervision, return_exceptions=True)

    async def families(self) -> list[Metric]:
        """Return the merged metrics of all workers that answer."""
        answers = await asyncio.gather(*(worker.families() for worker in self.workers))
        merged: dict[str, Metric] = {}
        for worker, families in zip(self.workers, answers, strict=True):
            add_families(families, worker.number, merged)
        return list(merged.values())

    async def _supervise(self, worker: WorkerProcess) -> None:
        """Run a worker and restart it.

        Worker 0 starts first: it creates the indexes, and an error at its start would be the error of all.
        """
        go = None if worker.number == 0 else self.workers[0].has_served
        while True:
            why = await worker.run(go)
            if self._stopping:
                if not worker.ended_cleanly:
                    _log.error("%s", why)
                    # One that has not served, such as one whose start failed as the stop began, leaves nothing behind.
                    if worker.served:
                        self.unclean.append(why)
                return
            if not worker.has_served.is_set() or self._hopeless():
                self._give_up(why)
                return
            pause = self._pause_before_restart(worker)
            _log.error("%s; restarting it in %.1f s", why, pause)
            worker.state = "waiting"
            await asyncio.sleep(pause)
            worker.restarts += 1

    def _pause_before_restart(self, worker: WorkerProcess) -> float:
        pause: float = min(self._policy.max_pause, self._policy.first_pause * 2.0 ** (worker.failures - 1))
        return pause * random.uniform(0.5, 1)  # noqa: S311 - spreads load, no secret

    def _hopeless(self) -> bool:
        return all(
            worker.state != "serving" and worker.failures >= self._policy.max_failures for worker in self.workers
        )

    def _give_up(self, why: StartupError) -> None:
        if not self._given_up.done():
            self._given_up.set_result(why)

    def _on_supervision_end(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (failure := task.exception()) is not None:
            _log.error("the supervision of a worker failed", exc_info=failure)
            self._give_up(StartupError("the supervision of a worker failed; see the log above"))
