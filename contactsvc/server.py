"""The composition root: puts the parts together, serves, and takes them apart again in the right order."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from typing import Any

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from contactsvc import embedded, logs, reflection, store
from contactsvc.calls import Calls
from contactsvc.config import ListenAddress, Settings
from contactsvc.convert.requests import RequestParser
from contactsvc.domain.environment import Environment
from contactsvc.domain.ids import Clock, ContactMethodIds, now_utc
from contactsvc.domain.values import ValueRules
from contactsvc.errors import StartupError
from contactsvc.service import ContactMethods, Store
from contactsvc.servicer import ContactMethodsServicer
from contactsvc.v1 import contact_methods_pb2 as pb

SERVICE = pb.DESCRIPTOR.services_by_name["ContactMethodsService"]

_GRACE = 10.0

_log = logging.getLogger(__name__)


class Server:
    """A gRPC server of contact methods over given stores; made and used inside the running event loop.

    Args:
        stores: one per environment.
        rules: how values are read.
        clock: tells the time of records.
        make_id: makes the ids of records.
    """

    def __init__(
        self,
        stores: Mapping[Environment, Store],
        rules: ValueRules,
        *,
        clock: Clock = now_utc,
        make_id: Callable[[], str] | None = None,
    ) -> None:
        self._calls = Calls()
        self._health = health.aio.HealthServicer()
        # so_reuseport is gRPC's default, and lets a second server share the port in silence.
        self._server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
        make_id = make_id or ContactMethodIds(clock)
        services = {
            environment: ContactMethods(store_, rules, clock=clock, make_id=make_id)
            for environment, store_ in stores.items()
        }
        servicer = ContactMethodsServicer(services, RequestParser(rules))
        self._server.add_generic_rpc_handlers([self._calls.handler(SERVICE, servicer)])
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        reflection.enable(self._server, (SERVICE.full_name, health.SERVICE_NAME))

    async def start(self, listen: ListenAddress) -> ListenAddress:
        """Listen and answer; return the address with its real port.

        Raises:
            StartupError: the address cannot be bound.
        """
        try:
            port = self._server.add_insecure_port(str(listen))
        except RuntimeError as error:
            raise StartupError(
                f"cannot listen on {listen}: the port is in use, or the host is not of this machine; "
                f"name another --listen"
            ) from error
        await self._server.start()
        for service_name in ("", SERVICE.full_name):
            await self._health.set(service_name, health_pb2.HealthCheckResponse.SERVING)
        return ListenAddress(listen.host, port)

    async def stop(self, grace: float | None) -> None:
        """Stop: tell health, take no new calls, give those under way `grace` seconds, finish writes."""
        await self._health.enter_graceful_shutdown()
        await self._server.stop(grace)
        await self._calls.finish_writes()


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
    async with AsyncExitStack() as stack:
        uri = settings.mongodb_uri
        died: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        if uri is None:
            database = await stack.enter_async_context(embedded.running(settings.data_dir.absolute()))
            uri, died = database.uri, database.died
        deployment = await store.connect(uri, settings.driver)
        stack.push_async_callback(deployment.close)
        stores = {
            environment: await deployment.open_store(f"{settings.database}_{environment}")
            for environment in Environment
        }
        rules = ValueRules(settings.default_region, settings.value_validation_lenient)
        server = Server(stores, rules)
        address = await server.start(settings.listen)
        announce(str(address))
        stopping = asyncio.create_task(signals.first())
        awaited: list[asyncio.Future[Any]] = [stopping, died]
        await asyncio.wait(awaited, return_when=asyncio.FIRST_COMPLETED)
        if died.done():
            stopping.cancel()
            await server.stop(None)
            raise StartupError(died.result())
        _log.info("stopping: no new calls; calls under way have %d s", _GRACE)
        await _stop_unless_hurried(server, signals)
    _log.info("stopped")


async def _stop_unless_hurried(server: Server, signals: _Signals) -> None:
    drain = asyncio.create_task(server.stop(_GRACE))
    hurry = asyncio.create_task(signals.first())
    await asyncio.wait([drain, hurry], return_when=asyncio.FIRST_COMPLETED)
    if not drain.done():
        _log.warning("second signal: stopping at once")
        await server.stop(None)
    hurry.cancel()
    await drain


class _Signals:
    """SIGTERM and SIGINT, one after the other."""

    def __init__(self) -> None:
        self._arrived: asyncio.Queue[int] = asyncio.Queue()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, self._arrived.put_nowait, number)

    async def first(self) -> int:
        """Wait for the next signal that nobody has waited for."""
        return await self._arrived.get()
