"""The composition root: puts the parts together, serves, and takes them apart again in the right order."""

from __future__ import annotations

import asyncio
import logging
import signal
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any

import grpc
from grpc_health.v1 import health_pb2_grpc

from contactsvc import embedded, logs, reflection, store
from contactsvc.calls import Calls, Tracing
from contactsvc.config import ListenAddress, Settings
from contactsvc.convert.requests import RequestParser
from contactsvc.domain.environment import Environment
from contactsvc.domain.ids import Clock, ContactMethodIds, now_utc
from contactsvc.domain.values import ValueRules
from contactsvc.errors import ConfigurationError, StartupError
from contactsvc.gate import Gate, check_permissions
from contactsvc.health import Health, follow_database
from contactsvc.limits import InFlight
from contactsvc.metrics import AdminServer, Metrics
from contactsvc.service import ContactMethods, Store
from contactsvc.servicer import ContactMethodsServicer
from contactsvc.v1 import contact_methods_pb2 as pb

SERVICE = pb.DESCRIPTOR.services_by_name["ContactMethodsService"]
HEALTH_SERVICE = "grpc.health.v1.Health"

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
    in_flight_per_key: int = 500
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
        reflects: whether it describes itself to whoever asks.
        clock: tells the time of records.
        make_id: makes the ids of records.
    """

    def __init__(
        self,
        stores: Mapping[Environment, Store],
        rules: ValueRules,
        *,
        gate: Gate | None = None,
        limits: Limits | None = None,
        metrics: Metrics | None = None,
        tracing: Tracing | None = None,
        reflects: bool = True,
        clock: Clock = now_utc,
        make_id: Callable[[], str] | None = None,
    ) -> None:
        check_permissions(method.name for method in SERVICE.methods)
        limits = limits or Limits()
        metrics = metrics or Metrics()
        in_flight = InFlight(limits.in_flight, limits.in_flight_per_key, metrics.rejected)
        metrics.in_flight.set_function(lambda: in_flight.count)
        gate = gate or Gate(None, monotonic=time.monotonic)
        self._calls = Calls(gate, in_flight, metrics, longest=limits.longest_call, tracing=tracing)
        self.health = Health(("", SERVICE.full_name))
        self._server = grpc.aio.server(options=_options(limits))
        make_id = make_id or ContactMethodIds(clock)
        services = {
            environment: ContactMethods(store_, rules, clock=clock, make_id=make_id)
            for environment, store_ in stores.items()
        }
        servicer = ContactMethodsServicer(services, RequestParser(rules))
        self._server.add_generic_rpc_handlers([self._calls.handler(SERVICE, servicer)])
        health_pb2_grpc.add_HealthServicer_to_server(self.health, self._server)
        if reflects:
            reflection.enable(self._server, (SERVICE.full_name, HEALTH_SERVICE))

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

    async def stop(self, grace: float | None) -> None:
        """Stop: tell health, take no new calls, give those under way `grace` seconds, finish writes."""
        await self.health.drain()
        await self.health.end_watches()
        await self._server.stop(grace)
        await self._calls.finish_writes()


def _options(limits: Limits) -> list[tuple[str, int]]:
    options = [
        # gRPC's default is to share the port with a second server, in silence.
        ("grpc.so_reuseport", 0),
        ("grpc.max_receive_message_length", limits.message_bytes),
        # Answers to batches may be larger than what asked for them.
        ("grpc.max_send_message_length", -1),
        # Find out within a minute and a half that a silent peer is gone, and bear as much from clients.
        ("grpc.keepalive_time_ms", 60_000),
        ("grpc.keepalive_timeout_ms", 20_000),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
    ]
    if limits.connection_age:
        options += [
            ("grpc.max_connection_age_ms", round(limits.connection_age * 1000)),
            ("grpc.max_connection_age_grace_ms", round(limits.longest_call * 1000)),
        ]
    return options


async def serve(settings: Settings, announce: Callable[[str], None]) -> None:
    """Serve until SIGTERM or SIGINT; a second signal stops without waiting for calls.

    Args:
        settings: what to serve, where, on which database.
        announce: told the address once the service answers.

    Raises:
        StartupError: the service cannot start, or has lost its embedded database.
    """
    logs.configure(as_json=settings.log_json, level=settings.log_level)
    signals = _Signals()
    metrics = Metrics()
    async with AsyncExitStack() as stack:
        credentials = _credentials(settings, metrics)
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
        gate = Gate(deployment.key_store(f"{settings.database}_keys"), monotonic=time.monotonic)
        await gate.refresh()
        _refuse_open_gate(settings, gate)
        server = Server(
            stores,
            ValueRules(settings.default_region, settings.value_validation_lenient),
            gate=gate,
            limits=_limits(settings),
            metrics=metrics,
            tracing=stack.enter_context(_tracing()) if settings.tracing else None,
            reflects=settings.reflects,
        )
        if settings.admin_listen is not None:
            _log.info("metrics on http://%s/metrics", stack.enter_context(AdminServer(metrics, settings.admin_listen)))
        address = await server.start(settings.listen, credentials)
        await stack.enter_async_context(_background(gate.keep_fresh(), metrics.watch_event_loop()))
        metrics.database_up.set(1)
        await stack.enter_async_context(
            _background(follow_database(server.health, deployment.ping, metrics.database_up.set))
        )
        announce(str(address))
        stopping = asyncio.create_task(signals.first())
        awaited: list[asyncio.Future[Any]] = [stopping, died]
        await asyncio.wait(awaited, return_when=asyncio.FIRST_COMPLETED)
        if died.done():
            stopping.cancel()
            await server.stop(None)
            raise StartupError(died.result())
        await _stop_unless_hurried(server, settings, signals)
    _log.info("stopped")


@contextmanager
def _tracing() -> Iterator[Tracing]:
    try:
        from contactsvc import tracing
    except ModuleNotFoundError as error:
        raise StartupError("--tracing needs OpenTelemetry: pip install 'contactsvc[otel]'") from error
    traces = tracing.from_environment(SERVICE.full_name)
    try:
        yield traces
    finally:
        traces.close()


def _credentials(settings: Settings, metrics: Metrics) -> grpc.ServerCredentials | None:
    if settings.tls_cert is None or settings.tls_key is None:
        return None
    # Only here: half the services will never need the library behind it.
    from contactsvc.tls import ReloadingCertificates, TlsFiles

    files = TlsFiles(settings.tls_cert, settings.tls_key, settings.tls_client_ca)
    certificates = ReloadingCertificates(files, lambda at: metrics.certificate_expiry.set(at.timestamp()))
    return certificates.credentials()


def _refuse_open_gate(settings: Settings, gate: Gate) -> None:
    """Raise ConfigurationError when a network could reach a service that lets everyone in."""
    if not gate.open:
        return
    if not settings.listen.loopback and not settings.without_keys:
        raise ConfigurationError(
            f"--listen {settings.listen} is open to a network, and there is no API key, so that anyone who reaches it "
            f"could read and delete all contact data; make a key with `contactsvc keys create`, or, if something else "
            f"keeps strangers out, say --dangerously-serve-without-keys"
        )
    _log.warning("there is no API key: everyone who reaches %s is let in, until there is one", settings.listen)


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


async def _stop_unless_hurried(server: Server, settings: Settings, signals: _Signals) -> None:
    """Drain; at a second signal stop at once."""
    drain = asyncio.create_task(_drain(server, settings))
    hurry = asyncio.create_task(signals.first())
    await asyncio.wait([drain, hurry], return_when=asyncio.FIRST_COMPLETED)
    if not drain.done():
        _log.warning("second signal: stopping at once")
        drain.cancel()
        await server.stop(None)
    hurry.cancel()
    await asyncio.gather(drain, hurry, return_exceptions=True)


async def _drain(server: Server, settings: Settings) -> None:
    await server.health.drain()
    if settings.drain_wait:
        _log.info("stopping: not serving any more for health, for %g s still for calls", settings.drain_wait)
        await asyncio.sleep(settings.drain_wait)
    _log.info("stopping: no new calls; calls under way have %g s", settings.drain_grace)
    await server.stop(settings.drain_grace)


class _Signals:
    """SIGTERM and SIGINT, one after the other."""

    def __init__(self) -> None:
        self._arrived: asyncio.Queue[int] = asyncio.Queue()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, self._arrived.put_nowait, number)

    async def first(self) -> int:
        """Wait for the next signal that nobody has waited for."""
        return await self._arrived.get()
