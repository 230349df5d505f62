"""Metrics of all workers on one endpoint: their own, with the worker's number, and those of the supervision."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, Protocol

from prometheus_client import CollectorRegistry, Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

STATES = ("starting", "serving", "waiting")
_SCRAPE_TIMEOUT_SECONDS = 4.0


class SupervisedWorker(Protocol):
    """What the metrics of the supervision show of a worker."""

    @property
    def number(self) -> int:
        """Its number."""

    @property
    def state(self) -> str:
        """One of `STATES`."""

    @property
    def restarts(self) -> int:
        """How often it was restarted."""


def families_of(registry: CollectorRegistry) -> list[Any]:
    """Return all metrics of a registry as JSON types."""
    return [
        [family.name, family.documentation, family.type, [[s.name, s.labels, s.value] for s in family.samples]]
        for family in registry.collect()
    ]


def add_families(families: list[Any], worker: int, to: dict[str, Metric]) -> None:
    """Merge the metrics of a worker into those of others, with a `worker` label on every sample.

    Args:
        families: result of `families_of` in the worker.
        worker: its number.
        to: the merged metrics by name.
    """
    for name, documentation, kind, samples in families:
        metric = to.setdefault(name, Metric(name, documentation, kind))
        for sample, labels, value in samples:
            metric.add_sample(sample, {"worker": str(worker), **labels}, value)


class WorkerMetrics(Collector):
    """Collects the metrics of all workers at every scrape, in the thread that serves it.

    Args:
        workers: the workers.
        families: returns their own metrics, merged; runs in the event loop.
        loop: the event loop of the supervisor.
    """

    def __init__(
        self,
        workers: Sequence[SupervisedWorker],
        families: Callable[[], Awaitable[list[Metric]]],
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self._workers = workers
        self._families = families
        self._loop = loop

    def collect(self) -> Iterable[Metric]:
        """Yield all metrics."""
        yield from supervision(self._workers)
        yield from asyncio.run_coroutine_threadsafe(self._collected(), self._loop).result(_SCRAPE_TIMEOUT_SECONDS)

    async def _collected(self) -> list[Metric]:
        return await self._families()


def supervision(workers: Sequence[SupervisedWorker]) -> Iterable[Metric]:
    """Return the metrics of the supervision itself: workers by state, and restarts."""
    states = GaugeMetricFamily("contactsvc_workers", "Workers, by state.", labels=["state"])
    for state in STATES:
        states.add_metric([state], sum(worker.state == state for worker in workers))
    restarts = CounterMetricFamily("contactsvc_worker_restarts", "Restarts of a worker.", labels=["worker"])
    for worker in workers:
        restarts.add_metric([str(worker.number)], worker.restarts)
    return [states, restarts]
