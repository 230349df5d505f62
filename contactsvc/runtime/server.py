"""The composition root: puts the parts together, serves, and takes them apart again in the right order."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

import grpc

from contactsvc import store
from contactsvc.config import ListenAddress, Settings, refuse_network_without_keys
from contactsvc.domain.clock import Clock, now_utc
from contactsvc.domain.ids import ContactMethodIds
from contactsvc.domain.kinds import Environment
from contactsvc.domain.normalization import ValueRules
from contactsvc.errors import StartupError
from contactsvc.rpc import health, reflection
from contactsvc.rpc.admission import ConcurrencyLimiter
from contactsvc.rpc.auth import Authenticator, check_permissions
from contactsvc.rpc.health import Health, follow_database
from contactsvc.rpc.pipeline import CallPipeline, Tracing
from contactsvc.rpc.requests import RequestParser
from contactsvc.rpc.servicer import ContactMethodsServicer
from contactsvc.runtime import embedded
from contactsvc.runtime.signals import Sender, Signals
from contactsvc.runtime.supervisor_link import SupervisorLink
from contactsvc.service import ContactMethods, Store
from contactsvc.telemetry import logs
from contactsvc.telemetry.call_report import CallReport
from contactsvc.telemetry.metrics import AdminServer, Metrics
from contactsvc.v1 import contact_methods_pb2 as pb

if TYPE_CHECKING:
    from contactsvc.rpc.tls import ReloadingCertificates

SERVICE = pb.DESCRIPTOR.services_by_name["ContactMethodsService"]

# Seconds for writes whose callers have left: after the grace of a stop, and of one that is hurried.
_LAST_WRITES = 5.0
_HURRIED = 0.5
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What the server bears.

    Attributes:
        in_flight: how many calls at a time.
        in_flight_per_key: how many of one API key.
        message_bytes: how large a request.
        longest_call: how many seconds a unary call may take.
        connection_age: after how many seconds a connection is ended; 0 is never.
    """

    in_flight: int = 1_000
    in_flight_per_key: int = 250
    message_bytes: int = 4 * 1024 * 1024
    longest_call: float = 30.0
    connection_age: float = 0.0


class Server:
    """A gRPC server of contact methods over given stores; made and used inside the running event loop.

    Args:
        stores: one per environment.
        rules: how values are read.
        gate: lets callers in; None lets everyone in.
        limits: what the server bears.
        metrics: counts what it does.
        tracing: traces calls, if they are to be traced.
        call_log: told of every call that has ended, if that is wanted.
        reflects: whether it describes itself to whoever asks.
        shares_port: whether other processes, of the same user, may listen where it does.
        clock: tells the time of records.
        make_id: makes the ids of records.
    """

    def __init__(
        self,
        stores: Mapping[Environment, Store],
        rules: ValueRules,
        *,
        gate: Authenticator | None = None,
        limits: Limits | None = None,
        metrics: Metrics | None = None,
        tracing: Tracing | None = None,
        call_log: Callable[[CallReport], None] | None = None,
        reflects: bool = True,
        shares_port: bool = False,
        clock: Clock = now_utc,
        make_id: Callable[[], str] | None = None,
    ) -> None:
        check_permissions(method.name for method in SERVICE.methods)
        limits = limits or Limits()
        metrics = metrics or Metrics()
        in_flight = ConcurrencyLimiter(limits.in_flight, limits.in_flight_per_key, metrics.rejected)
        metrics.in_flight.set_function(lambda: in_flight.count)
        gate = gate or Authenticator(None, monotonic=time.monotonic)
        self._calls = CallPipeline(gate, in_flight, metrics, longest=limits.longest_call, tracing=tracing, log=call_log)
        self.health = Health(("", SERVICE.full_name))
        self._server = grpc.aio.server(options=_options(limits, shares_port))
        make_id = make_id or ContactMethodIds(clock)
        services = {
            environment: ContactMethods(store_, rules, clock=clock, make_id=make_id)
            for environment, store_ in stores.items()
        }
        servicer = ContactMethodsServicer(services, RequestParser(rules))
        self._server.add_generic_rpc_handlers([self._calls.handler(SERVICE, servicer)])
        self._server.add_generic_rpc_handlers([self.health.handler])
        if reflects:
            reflection.enable(self._server, (SERVICE.full_name, health.SERVICE))

    async def start(self, listen: ListenAddress, credentials: grpc.ServerCredentials | None = None) -> ListenAddress:
        """Listen and answer; return the address with its real port.

        Args:
            listen: where.
            credentials: TLS; None serves in plain text.

        Raises:
            StartupError: the address cannot be bound.
        """
        try:
            if credentials is None:
                port = self._server.add_insecure_port(str(listen))
            else:
                port = self._server.add_secure_port(str(listen), credentials)
        except RuntimeError as error:
            raise StartupError(
                f"cannot listen on {listen}: the port is in use, or the host is not of this machine; "
                f"name another --listen"
            ) from error
        await self._server.start()
        await self.health.set_serving(True)
        return ListenAddress(listen.host, port)

    async def stop(self, grace: float | None, *, last_writes: float = _LAST_WRITES) -> int:
        """Stop: tell health, take no new calls, give those under way `grace` seconds, finish writes.

        Returns:
            How many writes have not ended.
        """
        await self.health.drain()
        await self.health.end_watches()
        await self._server.stop(grace)
        left = await self._calls.finish_writes(last_writes)
        if left:
            _log.error("%s not ended and are left; they may or may not have happened", _writes(left))
        return left


def _writes(count: int) -> str:
    return f"{count} writes have" if count > 1 else "1 write has"


def _options(limits: Limits, shares_port: bool) -> list[tuple[str, int]]:
    options = [
        # gRPC's default is to share the port with a second server, in silence.
        ("grpc.so_reuseport", int(shares_port)),
        ("grpc.max_receive_message_length", limits.message_bytes),
        # Headers: refused with some chance from the first size on, and for certain from the second. gRPC's own
        # defaults, said here because callers rely on them.
        ("grpc.max_metadata_size", 8 * 1024),
        ("grpc.absolute_max_metadata_size", 16 * 1024),
        # Answers to batches may be larger than what asked for them.
        ("grpc.max_send_message_length", -1),
        # Find out within a minute and a half that a silent peer is gone, and bear as much from clients.
        ("grpc.keepalive_time_ms", 60_000),
        ("grpc.keepalive_timeout_ms", 20_000),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
        # What one connection may have under way, strangers' health checks included; and how long it may take to begin.
        # More than may be in flight: what is too much shall hear so, and not wait in its client.
        ("grpc.max_concurrent_streams", max(1_000, 2 * limits.in_flight)),
        ("grpc.server_handshake_timeout_ms", 20_000),
    ]
    if limits.connection_age:
        options += [
            ("grpc.max_connection_age_ms", round(limits.connection_age * 1000)),
            ("grpc.max_connection_age_grace_ms", round(limits.longest_call * 1000)),
        ]
    return options


async def serve(
    settings: Settings,
    announce: Callable[[str], None],
    tell: Callable[[str, int], None],
    *,
    supervisor: SupervisorLink | None = None,
) -> None:
    """Serve until SIGTERM or SIGINT; a second signal stops without waiting for calls.

    When writes do not end, the process ends with exit code 1 all the same, and this does not return.

    Args:
        settings: what to serve, where, on which database.
        announce: told the address once the service answers.
        tell: told why, and with which exit code, when the process ends here.
        supervisor: whose worker this process is. It may stop the service as signals do, holds the port, and serves the
            metrics.

    Raises:
        StartupError: the service cannot start, or has lost its embedded database.
    """
    worker = None if supervisor is None else supervisor.worker
    logs.configure(as_json=settings.log_json, level=settings.log_level, worker=worker)
    signals = Signals()
    if supervisor is not None:
        supervisor.follow(signals)
    serving = asyncio.create_task(_serve(settings, announce, tell, signals, supervisor))
    early = asyncio.create_task(signals.before_start())
    await asyncio.wait([serving, early], return_when=asyncio.FIRST_COMPLETED)
    if not serving.done() and not signals.started:
        _log.info("stopped before the service had started")
        serving.cancel()
        done, _ = await asyncio.wait([serving], timeout=_LAST_WRITES)
        if not done:
            _leave_at_once(0)
        return
    early.cancel()
    await serving


def _leave_at_once(exit_code: int) -> NoReturn:
    """End the process without waiting for what hangs, such as threads of a driver whose database does not answer.

    An embedded database stops by itself when it sees that this process has ended.
    """
    _log.info("stopped")
    logging.shutdown()
    os._exit(exit_code)


async def _serve(
    settings: Settings,
    announce: Callable[[str], None],
    tell: Callable[[str, int], None],
    signals: Signals,
    supervisor: SupervisorLink | None,
) -> None:
    metrics = Metrics()
    async with AsyncExitStack() as stack:
        certificates = _certificates(settings, metrics)
        uri = settings.mongodb_uri
        died: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        if uri is None:
            database = await stack.enter_async_context(embedded.running(settings.data_dir.absolute()))
            uri, died = database.uri, database.died
        deployment = await store.connect(uri, settings.driver, metrics)
        stack.push_async_callback(deployment.close)
        stores = {
            environment: await deployment.open_store(f"{settings.database}_{environment}", batching=settings.batching)
            for environment in Environment
        }
        gate = Authenticator(deployment.key_store(f"{settings.database}_keys"), monotonic=time.monotonic)
        await gate.refresh()
        if gate.open:
            refuse_network_without_keys(settings)
        call_log = _call_log(settings, supervisor)
        server = Server(
            stores,
            ValueRules(settings.default_region, settings.value_validation_lenient),
            gate=gate,
            limits=_limits(settings),
            metrics=metrics,
            tracing=stack.enter_context(_tracing()) if settings.tracing else None,
            call_log=call_log,
            reflects=settings.reflects,
            shares_port=supervisor is not None,
        )
        if supervisor is not None:
            supervisor.show(metrics.registry)
        elif settings.admin_listen is not None:
            stack.enter_context(AdminServer(metrics.registry, settings.admin_listen))
        # Only for what fails before the end: that stops the server in an order of its own.
        failing = await stack.enter_async_context(AsyncExitStack())
        failing.push_async_callback(server.stop, None)
        address = await server.start(settings.listen, certificates.credentials() if certificates else None)
        metrics.database_up.set(1)
        work = [
            gate.keep_fresh(),
            metrics.watch_event_loop(),
            follow_database(server.health, deployment.ping, metrics.database_up.set),
        ]
        if certificates is not None:
            work.append(certificates.remind())
        await stack.enter_async_context(_background(*work))
        if gate.open:
            _log.warning("there is no API key: everyone who reaches %s is let in, until there is one", address)
        signals.started = True
        announce(str(address))
        stopping = asyncio.create_task(signals.next())
        awaited: list[asyncio.Future[Any]] = [stopping, died]
        await asyncio.wait(awaited, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        failing.pop_all()
        if died.done():
            left, hurried = await server.stop(None), False
        else:
            left, hurried = await _stop_unless_hurried(server, settings, signals)
        if call_log is not None:
            call_log.flush()
        if died.done():
            raise StartupError(died.result())
        if left:
            who = "" if supervisor is None else f"worker {supervisor.worker} "
            why = f"{who}stopped while {_writes(left)} not ended; they may or may not have happened"
            tell(why, StartupError.exit_code)
            _leave_at_once(StartupError.exit_code)
        if hurried:
            _leave_at_once(0)
    _log.info("stopped")


def _call_log(settings: Settings, supervisor: SupervisorLink | None) -> logs.CallLog | None:
    """Return what writes a line per call; None when the log is for worse things only."""
    if not _log.isEnabledFor(logging.INFO):
        return None
    worker = None if supervisor is None else supervisor.worker
    return logs.CallLog(as_json=settings.log_json, stream=sys.stderr, worker=worker)


@contextmanager
def _tracing() -> Iterator[Tracing]:
    try:
        from contactsvc.telemetry import tracing
    except ModuleNotFoundError as error:
        raise StartupError("--tracing needs OpenTelemetry: pip install 'contactsvc[otel]'") from error
    traces = tracing.from_environment(SERVICE.full_name)
    try:
        yield traces
    finally:
        traces.close()


def _certificates(settings: Settings, metrics: Metrics) -> ReloadingCertificates | None:
    if settings.tls_cert is None or settings.tls_key is None:
        return None
    # Only here: half the services will never need the library behind it.
    from contactsvc.rpc.tls import ReloadingCertificates, TlsFiles

    files = TlsFiles(settings.tls_cert, settings.tls_key, settings.tls_client_ca)
    return ReloadingCertificates(files, lambda at: metrics.certificate_expiry.set(at.timestamp()))


def _limits(settings: Settings) -> Limits:
    return Limits(
        in_flight=settings.max_in_flight,
        in_flight_per_key=settings.max_in_flight_per_key,
        message_bytes=settings.max_message_bytes,
        longest_call=settings.max_deadline,
        connection_age=settings.max_connection_age,
    )


@asynccontextmanager
async def _background(*work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Run work that never ends until the end of the block."""
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
        _log.error("work in the background has ended: %s", task.get_coro(), exc_info=task.exception())


async def _stop_unless_hurried(server: Server, settings: Settings, signals: Signals) -> tuple[int, bool]:
    """Drain; at a second signal stop at once. Return how many writes have not ended, and whether it was hurried."""
    drain = asyncio.create_task(_drain(server, settings, signals))
    hurry = asyncio.create_task(signals.next())
    await asyncio.wait([drain, hurry], return_when=asyncio.FIRST_COMPLETED)
    if drain.done():
        hurry.cancel()
        return await drain, False
    _log.warning(
        "%s: stopping at once", "second signal" if hurry.result() is Sender.SYSTEM else "the supervisor says so"
    )
    drain.cancel()
    return await server.stop(None, last_writes=_HURRIED), True


async def _drain(server: Server, settings: Settings, signals: Signals) -> int:
    await server.health.drain()
    if settings.drain_wait:
        _log.info("stopping: not serving any more for health, for %g s still for calls", settings.drain_wait)
        await signals.wait_unless_abandoned(settings.drain_wait)
    _log.info("stopping: no new calls; calls under way have %g s", settings.drain_grace)
    return await server.stop(settings.drain_grace)
