"""The gRPC health checking protocol, for load balancers and orchestrators.

Replaces the servicer of grpcio-health-checking, where a watcher that leaves unsubscribes the other watchers of its
service, an open watch delays the stop of the server by the whole grace period, and names sent by unauthenticated
callers are kept.
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
from contactsvc.rpc.age_limit import AgeLimit
from contactsvc.rpc.call_tasks import cancel_all, running_task
from contactsvc.rpc.status import DEADLINE_EXCEEDED, INVALID_ARGUMENT, NOT_FOUND, RESOURCE_EXHAUSTED

SERVICE = "grpc.health.v1.Health"
LIVENESS = "liveness"
"""Service name that reports SERVING while the process lives, regardless of the database."""

_MAX_REQUEST_BYTES = 1_024
_MAX_WATCHERS = 1_000
_MAX_READS = 16
_READ_TIMEOUT_SECONDS = 5.0
_PING_INTERVAL_SECONDS = 2.0
_PING_TIMEOUT_SECONDS = 2.0
# Checks in a row that change the status: a single lost ping must not take a replica out of load balancing.
_FAILURES_TO_STOP = 3
_SUCCESSES_TO_RESUME = 2

_Status = health_pb2.HealthCheckResponse.ServingStatus
_SERVING = health_pb2.HealthCheckResponse.SERVING
_NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
_UNKNOWN = health_pb2.HealthCheckResponse.SERVICE_UNKNOWN

_log = logging.getLogger(__name__)


class Health:
    """Health of the services.

    Args:
        services: names whose status follows the database; "" is the server as a whole.
        read_timeout: seconds after which an unfinished request ends its call.
    """

    def __init__(self, services: Iterable[str], *, read_timeout: float = _READ_TIMEOUT_SECONDS) -> None:
        self._following = tuple(services)
        self._statuses: dict[str, Any] = dict.fromkeys(self._following, _NOT_SERVING)
        self._statuses[LIVENESS] = _SERVING
        self._changed = asyncio.Condition()
        self._draining = False
        self._ended = False
        self._watchers = 0
        self._reads: AgeLimit[asyncio.Task[Any]] = AgeLimit(read_timeout, cancel_all)

    async def set_serving(self, serving: bool) -> None:
        """Set the status of the services that follow the database. Without effect after `drain`."""
        if not self._draining:
            await self._set(self._following, _SERVING if serving else _NOT_SERVING)

    async def drain(self) -> None:
        """Report NOT_SERVING from now on. Liveness stays SERVING."""
        self._draining = True
        await self._set(self._following, _NOT_SERVING)

    async def end_watches(self) -> None:
        """End all watches: an open stream would delay the stop of the server."""
        async with self._changed:
            self._ended = True
            self._changed.notify_all()

    @property
    def handler(self) -> grpc.GenericRpcHandler:
        """The gRPC handler of the health service."""
        return grpc.method_handlers_generic_handler(
            SERVICE,
            {
                # Requests as streams: the same on the wire, but the reading of the message is ours.
                "Check": grpc.stream_unary_rpc_method_handler(self._check),
                "Watch": grpc.stream_stream_rpc_method_handler(self._watch),
            },
        )

    async def _check(self, _: object, context: Any) -> bytes:
        status = self._statuses.get(await _service(await self._read(context), context))
        if status is None:
            await context.abort(NOT_FOUND, "unknown service")
        return _encoded(status)

    async def _watch(self, _: object, context: Any) -> AsyncGenerator[bytes]:
        service = await _service(await self._read(context), context)
        if self._watchers >= _MAX_WATCHERS:
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

    async def _read(self, context: Any) -> Any:
        """Return the message of a request; end the call when it does not arrive in time.

        Callers are unauthenticated, and an unfinished message may hold 4 MiB: their number is limited. At the limit the
        oldest read ends and the newest goes on, since the request of a load balancer arrives together with its headers.
        """
        if len(self._reads) >= _MAX_READS:
            self._reads.expire_older_than(0, at_most=1)
        task = running_task()
        self._reads.begin(task)
        try:
            return await context.read()
        except asyncio.CancelledError:
            # A read that has expired was cancelled here; anybody else may have cancelled it too.
            if self._reads.end(task) or task.uncancel():
                raise
        finally:
            self._reads.end(task)
        await context.abort(DEADLINE_EXCEEDED, "the request did not arrive in time")
        raise AssertionError("abort returned")

    async def _set(self, services: Iterable[str], status: Any) -> None:
        async with self._changed:
            for service in services:
                self._statuses[service] = status
            self._changed.notify_all()


async def _service(raw: Any, context: Any) -> str:
    """Return the service name of a request.

    Callers are unauthenticated: long requests are rejected unparsed, and nothing is stored.
    """
    if raw is not grpc.aio.EOF and len(raw) <= _MAX_REQUEST_BYTES:
        try:
            service: str = health_pb2.HealthCheckRequest.FromString(raw).service
        except DecodeError:
            pass
        else:
            return service
    await context.abort(INVALID_ARGUMENT, "malformed or oversized HealthCheckRequest")
    raise AssertionError("abort returned")


def _encoded(status: Any) -> bytes:
    encoded: bytes = health_pb2.HealthCheckResponse(status=status).SerializeToString()
    return encoded


async def follow_database(
    health: Health,
    ping: Callable[[], Awaitable[None]],
    on_ping: Callable[[bool], None],
    *,
    lets_callers_in: Callable[[], bool] = lambda: True,
    interval: float = _PING_INTERVAL_SECONDS,
) -> None:
    """Check until cancelled whether calls can be served, and set the health after several results in a row.

    Args:
        health: to be set.
        ping: returns when the database answers; raises otherwise.
        on_ping: receives the result of every ping.
        lets_callers_in: whether callers can be authenticated.
        interval: seconds between checks.
    """
    serving, contrary = True, 0
    while True:
        await asyncio.sleep(interval)
        try:
            async with asyncio.timeout(_PING_TIMEOUT_SECONDS):
                await ping()
            answered = True
        except (ContactsvcError, TimeoutError):
            answered = False
        except Exception as error:
            _log.error("unexpected error of a database ping", exc_info=error)
            answered = False
        on_ping(answered)
        able = answered and lets_callers_in()
        contrary = 0 if able is serving else contrary + 1
        if contrary < (_FAILURES_TO_STOP if serving else _SUCCESSES_TO_RESUME):
            continue
        serving, contrary = able, 0
        if serving:
            _log.info("the database answers again: serving")
        elif answered:
            _log.error("the API keys cannot be read: NOT_SERVING until they can")
        else:
            _log.error("%d pings of the database failed in a row: NOT_SERVING until it answers", _FAILURES_TO_STOP)
        await health.set_serving(serving)
