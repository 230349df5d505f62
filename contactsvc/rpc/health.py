"""Health: what load balancers and orchestrators ask (the gRPC health checking protocol).

The library's own servicer is not used: when one of several watchers of a service leaves, it forgets the others, at the
end a watcher holds the server until the grace is over, and what strangers send it is kept.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from typing import Any

import grpc
from google.protobuf.message import DecodeError
from grpc_health.v1 import health_pb2

from contactsvc.errors import ContactsvcError
from contactsvc.rpc.status import INVALID_ARGUMENT, NOT_FOUND, RESOURCE_EXHAUSTED

SERVICE = "grpc.health.v1.Health"
LIVENESS = "liveness"
"""The service that serves as long as the process does, whatever the database does."""

_LONGEST_QUESTION = 1_024
_MOST_WATCHERS = 1_000
_INTERVAL = 2.0
_PATIENCE = 2.0
# So many answers of one kind in a row change the mind: one lost ping shall take no replica out of the balancing.
_FAILURES = 3
_SUCCESSES = 2

_Status = health_pb2.HealthCheckResponse.ServingStatus
_SERVING = health_pb2.HealthCheckResponse.SERVING
_NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
_UNKNOWN = health_pb2.HealthCheckResponse.SERVICE_UNKNOWN

_log = logging.getLogger(__name__)


class Health:
    """The health of the services.

    Args:
        services: those that follow the database; "" is the server as a whole.
    """

    def __init__(self, services: Iterable[str]) -> None:
        self._following = tuple(services)
        self._statuses: dict[str, Any] = dict.fromkeys(self._following, _NOT_SERVING)
        self._statuses[LIVENESS] = _SERVING
        self._changed = asyncio.Condition()
        self._draining = False
        self._ended = False
        self._watchers = 0

    async def set_serving(self, serving: bool) -> None:
        """Say whether the services that follow the database serve. After `drain` this has no effect."""
        if not self._draining:
            await self._set(self._following, _SERVING if serving else _NOT_SERVING)

    async def drain(self) -> None:
        """Say for good that nothing serves any more; the process is still alive."""
        self._draining = True
        await self._set(self._following, _NOT_SERVING)

    async def end_watches(self) -> None:
        """End all watches, so that they do not hold the server."""
        async with self._changed:
            self._ended = True
            self._changed.notify_all()

    @property
    def handler(self) -> grpc.GenericRpcHandler:
        """The handler of the service."""
        return grpc.method_handlers_generic_handler(
            SERVICE,
            {
                "Check": grpc.unary_unary_rpc_method_handler(self._check),
                "Watch": grpc.unary_stream_rpc_method_handler(self._watch),
            },
        )

    async def _check(self, raw: bytes, context: Any) -> bytes:
        status = self._statuses.get(await _service(raw, context))
        if status is None:
            await context.abort(NOT_FOUND, "no such service")
        return _encoded(status)

    async def _watch(self, raw: bytes, context: Any) -> AsyncGenerator[bytes]:
        service = await _service(raw, context)
        if self._watchers >= _MOST_WATCHERS:
            await context.abort(RESOURCE_EXHAUSTED, "too many watches")
        self._watchers += 1
        try:
            sent = None
            while not self._ended:
                status = self._statuses.get(service, _UNKNOWN)
                if status != sent:
                    yield _encoded(status)
                    sent = status
                async with self._changed:
                    if not self._ended and self._statuses.get(service, _UNKNOWN) == sent:
                        await self._changed.wait()
        finally:
            self._watchers -= 1

    async def _set(self, services: Iterable[str], status: Any) -> None:
        async with self._changed:
            for service in services:
                self._statuses[service] = status
            self._changed.notify_all()


async def _service(raw: bytes, context: Any) -> str:
    """Return the name that is asked for; anyone may ask, so that it is neither kept nor looked at when it is long."""
    if len(raw) <= _LONGEST_QUESTION:
        try:
            service: str = health_pb2.HealthCheckRequest.FromString(raw).service
        except DecodeError:
            pass
        else:
            return service
    await context.abort(INVALID_ARGUMENT, "this is no HealthCheckRequest")
    raise AssertionError("abort returned")


def _encoded(status: Any) -> bytes:
    encoded: bytes = health_pb2.HealthCheckResponse(status=status).SerializeToString()
    return encoded


async def follow_database(health: Health, ping: Callable[[], Awaitable[None]], told: Callable[[bool], None]) -> None:
    """Ping the database again and again, until cancelled, and let health follow with hysteresis.

    Args:
        health: what follows.
        ping: returns when the database answers.
        told: told of every answer, at once.
    """
    serving, run = True, 0
    while True:
        await asyncio.sleep(_INTERVAL)
        try:
            async with asyncio.timeout(_PATIENCE):
                await ping()
            answers = True
        except (ContactsvcError, TimeoutError):
            answers = False
        except Exception as error:
            _log.error("the database answers with what nobody expected", exc_info=error)
            answers = False
        told(answers)
        run = 0 if answers is serving else run + 1
        if run < (_FAILURES if serving else _SUCCESSES):
            continue
        serving, run = answers, 0
        if serving:
            _log.info("the database answers again: serving")
        else:
            _log.error("the database has not answered %d times in a row: not serving until it does", _FAILURES)
        await health.set_serving(serving)
