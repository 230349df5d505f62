"""Life of a serving process: connects, serves, and shuts everything down in order."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any, NoReturn

from contactsvc import store
from contactsvc.config import Settings, refuse_network_without_keys
from contactsvc.domain.kinds import Environment
from contactsvc.domain.normalization import ValueRules
from contactsvc.errors import StartupError
from contactsvc.rpc.answers import AnswerLimits
from contactsvc.rpc.auth import Authenticator
from contactsvc.rpc.health import follow_database
from contactsvc.runtime import embedded, malloc
from contactsvc.runtime.expiry import remove_expired
from contactsvc.runtime.rules_check import warn_of_other_rules
from contactsvc.runtime.secrets import SecretRing
from contactsvc.runtime.server import LAST_WRITES_TIMEOUT_SECONDS, SERVICE, Limits, Server, count_writes
from contactsvc.runtime.signals import Sender, Signals, run_until_early_stop
from contactsvc.runtime.supervisor_link import SupervisorLink
from contactsvc.telemetry import logs
from contactsvc.telemetry.admin_server import AdminServer
from contactsvc.telemetry.descriptors import DescriptorWatch
from contactsvc.telemetry.metrics import Metrics

if TYPE_CHECKING:
    from contactsvc.rpc.tls import ReloadingCertificates
    from contactsvc.telemetry.tracing import OpenTelemetryTracing

# For writes that outlive their callers, when a second signal stops the process.
_HURRIED_WRITES_TIMEOUT_SECONDS = 0.5

_log = logging.getLogger(__name__)


async def serve(
    settings: Settings,
    on_ready: Callable[[str], None],
    on_failure: Callable[[str, int], None],
    *,
    environ: Mapping[str, str],
    supervisor: SupervisorLink | None = None,
) -> None:
    """Serve until SIGTERM or SIGINT; a second signal stops at once.

    Does not return when writes are unfinished or the start cannot be interrupted: then it ends the process itself.

    Args:
        settings: of the service.
        on_ready: receives the address once the service accepts calls.
        on_failure: receives the reason and the exit code before this function ends the process with unfinished writes.
        environ: environment variables, of which OpenTelemetry's are read.
        supervisor: set in a worker: it relays signals, holds the port and serves the metrics.

    Raises:
        StartupError: the service cannot start, or has lost its embedded database.
    """
    malloc.configure()
    worker = None if supervisor is None else supervisor.worker
    logs.configure(as_json=settings.log_json, level=settings.log_level, worker=worker)
    signals = Signals()
    if supervisor is not None:
        supervisor.follow(signals)
    service = _serve(settings, on_ready, on_failure, signals, environ, supervisor)
    if not await run_until_early_stop(service, signals, cancel_timeout=LAST_WRITES_TIMEOUT_SECONDS):
        _exit_now(0)


def _exit_now(exit_code: int) -> NoReturn:
    """End the process without waiting for hanging threads, such as those of a driver whose database does not answer.

    An embedded database notices the end and stops by itself.
    """
    _log.info("stopped")
    logging.shutdown()
    os._exit(exit_code)


async def _serve(
    settings: Settings,
    on_ready: Callable[[str], None],
    on_failure: Callable[[str, int], None],
    signals: Signals,
    environ: Mapping[str, str],
    supervisor: SupervisorLink | None,
) -> None:
    metrics = Metrics()
    async with AsyncExitStack() as stack:
        tracing = stack.enter_context(_tracing(environ)) if settings.tracing else None
        certificates = _certificates(settings, metrics)
        uri = settings.mongodb_uri
        died: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        if uri is None:
            database = await stack.enter_async_context(embedded.running(settings.data_dir.absolute()))
            uri, died = database.uri, database.died
        deployment = await store.connect(
            uri, settings.driver, metrics if tracing is None else tracing.database(metrics)
        )
        stack.push_async_callback(deployment.close)
        stores = {
            environment: await deployment.open_store(f"{settings.database}_{environment}", batching=settings.batching)
            for environment in Environment
        }
        rules = ValueRules(settings.default_region, settings.value_validation_lenient)
        if supervisor is None or supervisor.worker == 0:
            # Worker 0 starts before the others, so that a start of the service gives one warning.
            await warn_of_other_rules(deployment, settings.database, rules)
        authenticator = Authenticator(deployment.key_store(f"{settings.database}_keys"), monotonic=time.monotonic)
        await authenticator.refresh()
        if authenticator.open:
            refuse_network_without_keys(settings)
        secrets = SecretRing(
            deployment.secret_store(f"{settings.database}_keys"),
            settings.verification_secret_file,
            clock=deployment.clock,
        )
        await secrets.read()
        call_log = _call_log(settings, supervisor)
        server = Server(
            stores,
            rules,
            authenticator=authenticator,
            limits=_limits(settings),
            metrics=metrics,
            tracing=tracing,
            call_log=call_log,
            reflects=settings.reflects,
            shares_port=supervisor is not None,
            secrets={environment: secrets.of(environment) for environment in Environment},
            clock=deployment.clock,
        )
        if supervisor is not None:
            supervisor.expose(metrics.registry)
        elif settings.admin_listen is not None:
            stack.enter_context(AdminServer(metrics.registry, settings.admin_listen))
        # Stops the server when something fails before the regular stop below.
        failing = await stack.enter_async_context(AsyncExitStack())
        failing.push_async_callback(server.stop, None)
        address = await server.start(settings.listen, certificates.credentials() if certificates else None)
        metrics.database_up.set(1)
        descriptors = DescriptorWatch()
        descriptors.check_limit()
        work = [
            descriptors.run(),
            authenticator.keep_fresh(),
            secrets.keep_fresh(),
            metrics.watch_event_loop(),
            follow_database(
                server.health,
                deployment.ping,
                metrics.database_up.set,
                lets_callers_in=lambda: authenticator.lets_callers_in,
            ),
        ]
        if certificates is not None:
            work.append(certificates.remind())
        if deployment.is_embedded and (supervisor is None or supervisor.worker == 0):
            work.append(remove_expired(stores.values(), deployment.clock))
        await stack.enter_async_context(_background(*work))
        if authenticator.open:
            _log.warning("no API keys: everyone who reaches %s is let in until a key is created", address)
        signals.started = True
        on_ready(str(address))
        stopping = asyncio.create_task(signals.next())
        awaited: list[asyncio.Future[Any]] = [stopping, died]
        await asyncio.wait(awaited, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        failing.pop_all()
        if died.done():
            unfinished, hurried = await server.stop(None), False
        else:
            unfinished, hurried = await _stop(server, settings, signals)
        if call_log is not None:
            call_log.flush()
        if died.done():
            raise StartupError(died.result())
        if unfinished:
            subject = "" if supervisor is None else f"worker {supervisor.worker} "
            why = f"{subject}stopped while {count_writes(unfinished)} not ended; they may or may not have happened"
            on_failure(why, StartupError.exit_code)
            _exit_now(StartupError.exit_code)
        if hurried:
            _exit_now(0)
    _log.info("stopped")


def _call_log(settings: Settings, supervisor: SupervisorLink | None) -> logs.CallLog | None:
    """Return the log of calls; None when the log level excludes it."""
    if not _log.isEnabledFor(logging.INFO):
        return None
    worker = None if supervisor is None else supervisor.worker
    return logs.CallLog(as_json=settings.log_json, stream=sys.stderr, worker=worker)


@contextmanager
def _tracing(environ: Mapping[str, str]) -> Iterator[OpenTelemetryTracing | None]:
    """Trace until the end of the block; yield None when OpenTelemetry's variables turn tracing off."""
    try:
        from contactsvc.telemetry import trace_exporter, tracing
    except ModuleNotFoundError as error:
        raise StartupError("--tracing needs OpenTelemetry: pip install 'contactsvc[otel]'") from error
    exporter = trace_exporter.exporter_from(environ)
    if exporter is None:
        yield None
        return
    traces = tracing.OpenTelemetryTracing(exporter, SERVICE.full_name)
    try:
        yield traces
    finally:
        traces.close()


def _certificates(settings: Settings, metrics: Metrics) -> ReloadingCertificates | None:
    if settings.tls_cert is None or settings.tls_key is None:
        return None
    # Imported only here: services without TLS need not load the cryptography library.
    from contactsvc.rpc.tls import ReloadingCertificates, TlsFiles

    files = TlsFiles(settings.tls_cert, settings.tls_key, settings.tls_client_ca)
    return ReloadingCertificates(files, lambda at: metrics.certificate_expiry.set(at.timestamp()))


def _limits(settings: Settings) -> Limits:
    return Limits(
        max_in_flight=settings.max_in_flight,
        max_in_flight_per_key=settings.max_in_flight_per_key,
        max_rate_per_key=settings.max_rate_per_key,
        max_message_bytes=settings.max_message_bytes,
        max_deadline=settings.max_deadline,
        max_connection_age=settings.max_connection_age,
        max_connections=settings.max_connections,
        answers=AnswerLimits(timeout=settings.answer_timeout),
    )


@asynccontextmanager
async def _background(*work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Run endless tasks until the end of the block."""
    tasks = [asyncio.create_task(one) for one in work]
    for task in tasks:
        task.add_done_callback(_log_end)
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _log_end(task: asyncio.Task[None]) -> None:
    if not task.cancelled():
        _log.error("background task ended: %s", task.get_coro(), exc_info=task.exception())


async def _stop(server: Server, settings: Settings, signals: Signals) -> tuple[int, bool]:
    """Drain; stop at once at a second signal. Return the number of unfinished writes, and whether it was hurried."""
    drain = asyncio.create_task(_drain(server, settings, signals))
    second = asyncio.create_task(signals.next())
    await asyncio.wait([drain, second], return_when=asyncio.FIRST_COMPLETED)
    if drain.done():
        second.cancel()
        return await drain, False
    cause = "second signal" if second.result() is Sender.SYSTEM else "request of the supervisor"
    _log.warning("%s: stopping at once", cause)
    drain.cancel()
    return await server.stop(None, last_writes=_HURRIED_WRITES_TIMEOUT_SECONDS), True


async def _drain(server: Server, settings: Settings, signals: Signals) -> int:
    await server.health.drain()
    if settings.drain_wait:
        _log.info("draining: health reports NOT_SERVING; accepting calls for %g s more", settings.drain_wait)
        await signals.wait_unless_abandoned(settings.drain_wait)
    _log.info("draining: refusing new calls; calls in flight have %g s", settings.drain_grace)
    return await server.stop(settings.drain_grace)
