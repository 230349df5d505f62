"""Supervisor of several worker processes on one port.

The kernel spreads connections over the workers (SO_REUSEPORT). Workers are new processes, because gRPC does not survive
a fork, and each is a complete server (serving.py). The supervisor reserves the port, runs the embedded database,
restarts workers, stops all of them together, and serves their metrics. It loads neither gRPC nor a database driver, so
that little in it can fail.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from typing import Any

from prometheus_client import CollectorRegistry

from contactsvc.config import Settings
from contactsvc.errors import StartupError
from contactsvc.runtime import embedded, port
from contactsvc.runtime.signals import Signals, run_until_early_stop
from contactsvc.runtime.worker_metrics import WorkerMetrics
from contactsvc.runtime.worker_pool import WorkerPool
from contactsvc.telemetry import logs
from contactsvc.telemetry.admin_server import AdminServer

# For the end of a worker after its drain: last writes, closing the database, exit of the interpreter.
_EXIT_TIMEOUT_SECONDS = 15.0

_log = logging.getLogger(__name__)


async def supervise(settings: Settings, flags: Mapping[str, str | None], on_ready: Callable[[str], None]) -> None:
    """Serve with `settings.workers` processes until SIGTERM or SIGINT; a second signal stops at once.

    Args:
        settings: of the service.
        flags: source of the settings; workers read them and the environment again.
        on_ready: receives the address once all workers accept calls.

    Raises:
        StartupError: the service cannot start, has lost its embedded database, its workers keep failing, or a worker
            did not stop cleanly.
    """
    logs.configure(as_json=settings.log_json, level=settings.log_level)
    signals = Signals()
    await run_until_early_stop(_supervise(settings, flags, on_ready, signals), signals)


async def _supervise(
    settings: Settings, flags: Mapping[str, str | None], on_ready: Callable[[str], None], signals: Signals
) -> None:
    async with AsyncExitStack() as stack:
        address = await stack.enter_async_context(port.held(settings.listen))
        worker_flags = {**flags, "listen": str(address)}
        died: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        if settings.mongodb_uri is None:
            database = await stack.enter_async_context(embedded.running(settings.data_dir.absolute()))
            worker_flags["mongodb_uri"], died = database.uri, database.died
        pool = WorkerPool(settings.workers, worker_flags)
        stack.push_async_callback(pool.kill)
        if settings.admin_listen is not None:
            registry = CollectorRegistry()
            registry.register(WorkerMetrics(pool.workers, pool.families, asyncio.get_running_loop()))
            stack.enter_context(AdminServer(registry, settings.admin_listen))
        given_up = pool.start()
        all_serve = asyncio.create_task(pool.all_serve())
        awaited: list[asyncio.Future[Any]] = [all_serve, given_up, died]
        await asyncio.wait(awaited, return_when=asyncio.FIRST_COMPLETED)
        if all_serve.done():
            signals.started = True
            on_ready(str(address))
        all_serve.cancel()
        stopping = asyncio.create_task(signals.next())
        awaited = [stopping, given_up, died]
        await asyncio.wait(awaited, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if given_up.done():
            raise given_up.result()
        if died.done():
            pool.stop(2)
            await pool.end(_EXIT_TIMEOUT_SECONDS)
            raise StartupError(died.result())
        await _stop(pool, settings, signals)
        if pool.unclean:
            raise StartupError("; ".join(map(str, pool.unclean)))
    _log.info("stopped")


async def _stop(pool: WorkerPool, settings: Settings, signals: Signals) -> None:
    """Drain all workers; stop them at once at a second signal."""
    _log.info("stopping all workers")
    pool.stop(1)
    second = asyncio.create_task(signals.next())
    timeout = settings.drain_wait + settings.drain_grace + _EXIT_TIMEOUT_SECONDS
    ended = asyncio.create_task(pool.end(timeout))
    await asyncio.wait([second, ended], return_when=asyncio.FIRST_COMPLETED)
    if not ended.done():
        _log.warning("second signal: stopping at once")
        pool.stop(2)
        await pool.end(_EXIT_TIMEOUT_SECONDS)
        # It saw the same workers end; an error of `end` must not get lost.
        await ended
    second.cancel()
