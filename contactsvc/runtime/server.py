"""The gRPC server, composed from given parts."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial

import grpc

from contactsvc.config import ListenAddress, Settings
from contactsvc.domain.clock import Clock, now_utc
from contactsvc.domain.ids import ContactMethodIds
from contactsvc.domain.kinds import Environment
from contactsvc.domain.normalization import ValueRules
from contactsvc.domain.verification import VerificationSecrets, new_secret
from contactsvc.memory import MemoryBudget
from contactsvc.rpc import health, reflection
from contactsvc.rpc.admission import ConcurrencyLimiter, ScanLimiter
from contactsvc.rpc.answers import AnswerBudget, AnswerLimits
from contactsvc.rpc.auth import Authenticator, check_permissions
from contactsvc.rpc.call_ports import Tracing
from contactsvc.rpc.draining import DrainingHandler
from contactsvc.rpc.health import Health
from contactsvc.rpc.pipeline import CallPipeline
from contactsvc.rpc.rate_limit import RateLimiter
from contactsvc.rpc.request_reader import READ_TIMEOUT_SECONDS, RequestReader
from contactsvc.rpc.requests import RequestParser
from contactsvc.rpc.servicer import ContactMethodsServicer
from contactsvc.runtime.port import cannot_listen
from contactsvc.service import ContactMethods, Store
from contactsvc.telemetry.call_report import CallReport
from contactsvc.telemetry.limit import Limit
from contactsvc.telemetry.metrics import Metrics
from contactsvc.v1 import contact_methods_pb2 as pb

SERVICE = pb.DESCRIPTOR.services_by_name["ContactMethodsService"]

# For writes that outlive their callers, after the grace period of a stop.
LAST_WRITES_TIMEOUT_SECONDS = 5.0

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Limits of a server process, named as in the settings.

    Attributes:
        max_in_flight: calls in flight.
        max_in_flight_per_key: calls in flight with one API key.
        max_rate_per_key: calls per second with one API key that has no rate of its own; 0 for no limit.
        max_message_bytes: size of a request.
        max_deadline: seconds that a unary call may take.
        max_connection_age: seconds after which a connection is closed; 0 means never.
        max_connections: connections; further ones are closed at once.
        request_timeout: seconds after which an unfinished request is given up.
        answers: bytes of answers under way.
    """

    max_in_flight: int = Settings.max_in_flight
    max_in_flight_per_key: int = Settings.max_in_flight_per_key
    max_rate_per_key: float = Settings.max_rate_per_key
    max_message_bytes: int = Settings.max_message_bytes
    max_deadline: float = Settings.max_deadline
    max_connection_age: float = Settings.max_connection_age
    max_connections: int = Settings.max_connections
    request_timeout: float = READ_TIMEOUT_SECONDS
    answers: AnswerLimits = field(default_factory=lambda: AnswerLimits(timeout=Settings.answer_timeout))


class Server:
    """A gRPC server of contact methods. Create and use it inside the running event loop.

    Args:
        stores: one per environment.
        rules: normalization of values.
        authenticator: authenticates callers; None admits everyone.
        limits: of the process.
        metrics: of the process.
        tracing: traces calls; None turns it off.
        call_log: receives the report of every finished call; None turns it off.
        reflects: whether server reflection is on.
        shares_port: whether other processes of this user may listen on the same port.
        clock: source of timestamps.
        make_id: generator of record ids.
        monotonic: clock in seconds, by which rates are measured.
        secrets: return the verification secrets of each environment; None for random ones of this server.

    Attributes:
        health: health of the server.
        answers: the answers under way.
        memory: the memory of calls.
        reader: the requests being read.
    """

    def __init__(
        self,
        stores: Mapping[Environment, Store],
        rules: ValueRules,
        *,
        authenticator: Authenticator | None = None,
        limits: Limits | None = None,
        metrics: Metrics | None = None,
        tracing: Tracing | None = None,
        call_log: Callable[[CallReport], None] | None = None,
        reflects: bool = True,
        shares_port: bool = False,
        clock: Clock = now_utc,
        make_id: Callable[[], str] | None = None,
        monotonic: Callable[[], float] = time.monotonic,
        secrets: Mapping[Environment, Callable[[], VerificationSecrets]] | None = None,
    ) -> None:
        check_permissions(method.name for method in SERVICE.methods)
        limits = limits or Limits()
        metrics = metrics or Metrics()
        in_flight = ConcurrencyLimiter(limits.max_in_flight, limits.max_in_flight_per_key, metrics.rejected)
        metrics.in_flight.set_function(lambda: in_flight.count)
        authenticator = authenticator or Authenticator(None, monotonic=time.monotonic)
        self.answers = AnswerBudget(limits.answers, metrics.rejected)
        self.memory = MemoryBudget(partial(metrics.rejected, Limit.BYTES), self.answers.make_room)
        self.reader = RequestReader(metrics.rejected, timeout=min(limits.request_timeout, limits.max_deadline))
        self._calls = CallPipeline(
            authenticator,
            in_flight,
            self.answers,
            self.memory,
            self.reader,
            metrics,
            max_seconds=limits.max_deadline,
            rate_limiter=RateLimiter(limits.max_rate_per_key, monotonic=monotonic, on_rejected=metrics.rejected),
            tracing=tracing,
            on_end=call_log,
        )
        make_id = make_id or ContactMethodIds(clock)
        secrets = secrets or {environment: _random_secrets() for environment in stores}
        scans = ScanLimiter(metrics.rejected)
        servicers = {
            environment: ContactMethodsServicer(
                ContactMethods(
                    store_,
                    rules,
                    clock=clock,
                    make_id=make_id,
                    secrets=secrets[environment],
                    on_verification_event=metrics.verification_event,
                ),
                RequestParser(rules, clock=clock, secrets=secrets[environment]),
                scans,
            )
            for environment, store_ in stores.items()
        }
        self._handler = DrainingHandler(self._calls.handler(SERVICE, servicers))
        self.health = Health(("", SERVICE.full_name))
        self._server = grpc.aio.server(options=_options(limits, shares_port))
        self._server.add_generic_rpc_handlers([self._handler, self.health.handler])
        if reflects:
            reflection.enable(self._server, (SERVICE.full_name, health.SERVICE))

    async def start(self, listen: ListenAddress, credentials: grpc.ServerCredentials | None = None) -> ListenAddress:
        """Listen and accept calls; return the address with its actual port.

        Args:
            listen: address; port 0 takes a free port.
            credentials: TLS; None serves plain text.

        Raises:
            StartupError: the address cannot be bound.
        """
        try:
            if credentials is None:
                port = self._server.add_insecure_port(str(listen))
            else:
                port = self._server.add_secure_port(str(listen), credentials)
        except RuntimeError as error:
            raise cannot_listen(listen) from error
        await self._server.start()
        await self.health.set_serving(True)
        return ListenAddress(listen.host, port)

    def refuse_new_calls(self) -> None:
        """Refuse new calls with UNAVAILABLE. Calls in flight continue, and health still answers."""
        self._handler.close()

    async def stop(self, grace: float | None, *, last_writes: float = LAST_WRITES_TIMEOUT_SECONDS) -> int:
        """Stop: report NOT_SERVING, refuse new calls, finish calls in flight, finish writes.

        Args:
            grace: seconds for calls in flight; None cancels them at once.
            last_writes: seconds for the writes of cancelled calls.

        Returns:
            The number of unfinished writes.
        """
        await self.health.drain()
        await self.health.end_watches()
        self.refuse_new_calls()
        if grace:
            await self._handler.quiet()
        await self._server.stop(grace)
        unfinished = await self._calls.finish_writes(last_writes)
        if self._handler.refused:
            _log.info("refused %d calls that arrived during the stop", self._handler.refused)
        if unfinished:
            _log.error("%s not ended; they may or may not have happened", count_writes(unfinished))
        return unfinished


def count_writes(count: int) -> str:
    """Return "1 write has" or "2 writes have"."""
    return f"{count} writes have" if count > 1 else "1 write has"


def _random_secrets() -> Callable[[], VerificationSecrets]:
    secrets = VerificationSecrets.of(new_secret())
    return lambda: secrets


def _options(limits: Limits, shares_port: bool) -> list[tuple[str, int]]:
    options = [
        # gRPC's default lets a second server share the port silently.
        ("grpc.so_reuseport", int(shares_port)),
        ("grpc.max_receive_message_length", limits.max_message_bytes),
        # Soft and hard limit of request headers. These are gRPC's defaults, pinned because clients rely on them.
        ("grpc.max_metadata_size", 8 * 1024),
        ("grpc.absolute_max_metadata_size", 16 * 1024),
        # Responses to batches can be larger than their requests.
        ("grpc.max_send_message_length", -1),
        # Detects a dead peer within 80 s, and allows the same pings from clients.
        ("grpc.keepalive_time_ms", 60_000),
        ("grpc.keepalive_timeout_ms", 20_000),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
        # Per connection, health checks included. Without API keys more than the calls in flight, with them more than
        # those of a key: excess calls must be refused with a status rather than queue in their client.
        ("grpc.max_concurrent_streams", max(1_000, 2 * limits.max_in_flight)),
        ("grpc.max_allowed_incoming_connections", limits.max_connections),
        # The probe of the bandwidth would widen the window of a call whose message is not read yet, 64 KiB.
        ("grpc.http2.bdp_probe", 0),
        ("grpc.server_handshake_timeout_ms", 20_000),
    ]
    if limits.max_connection_age:
        options += [
            ("grpc.max_connection_age_ms", round(limits.max_connection_age * 1000)),
            ("grpc.max_connection_age_grace_ms", round(limits.max_deadline * 1000)),
        ]
    return options
