"""What the service counts and measures, as Prometheus metrics.

The names of the gRPC metrics are those that other languages' gRPC middleware has made usual. No label holds anything of
a request: methods, statuses and kinds of commands are all there is.
"""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass
from wsgiref.simple_server import WSGIServer

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, start_http_server

from contactsvc import __version__
from contactsvc.config import ListenAddress
from contactsvc.errors import StartupError

_CALL = ["grpc_type", "grpc_service", "grpc_method"]
_CALL_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_COMMAND_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0)
_LAG_SECONDS = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0)
_LAG_INTERVAL = 0.5

_log = logging.getLogger(__name__)


class Metrics:
    """The metrics of one process, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        registry = self.registry
        self._started = Counter("grpc_server_started", "Calls begun.", _CALL, registry=registry)
        self._handled = Counter("grpc_server_handled", "Calls ended.", [*_CALL, "grpc_code"], registry=registry)
        self._seconds = Histogram(
            "grpc_server_handling_seconds", "How long calls took.", _CALL, registry=registry, buckets=_CALL_SECONDS
        )
        self._received = Counter("grpc_server_msg_received", "Messages received.", _CALL, registry=registry)
        self._sent = Counter("grpc_server_msg_sent", "Messages sent.", _CALL, registry=registry)
        self.in_flight = Gauge("contactsvc_in_flight_calls", "Calls in flight.", registry=registry)
        self._rejected = Counter(
            "contactsvc_rejected_calls", "Calls refused because too many were in flight.", ["limit"], registry=registry
        )
        self._commands = Histogram(
            "contactsvc_database_command_seconds",
            "How long database commands took.",
            ["command", "outcome"],
            registry=registry,
            buckets=_COMMAND_SECONDS,
        )
        self._connections = Gauge(
            "contactsvc_database_connections", "Connections to the database.", ["state"], registry=registry
        )
        self.database_up = Gauge("contactsvc_database_up", "Whether the database answers.", registry=registry)
        self._lag = Histogram(
            "contactsvc_event_loop_lag_seconds",
            "How much later than asked for the event loop woke up.",
            registry=registry,
            buckets=_LAG_SECONDS,
        )
        self.certificate_expiry = Gauge(
            "contactsvc_tls_certificate_expiry_timestamp_seconds",
            "When the certificate in use expires, in Unix time; 0 without TLS.",
            registry=registry,
        )
        build = Gauge("contactsvc_build_info", "The version that runs.", ["version"], registry=registry)
        build.labels(__version__).set(1)
        for limit in ("process", "key"):
            self._rejected.labels(limit)

    def of_method(self, kind: str, service: str, method: str) -> MethodMetrics:
        """Return the metrics of an RPC, looked up once."""
        labels = (kind, service, method)
        return MethodMetrics(
            self._started.labels(*labels),
            self._seconds.labels(*labels),
            self._received.labels(*labels),
            self._sent.labels(*labels),
            self._handled,
            labels,
            {},
        )

    def rejected(self, limit: str) -> None:
        """Count a call that was refused by a limit."""
        self._rejected.labels(limit).inc()

    def command_ended(self, command: str, *, ok: bool, seconds: float) -> None:
        """Count a database command. May be called by any thread."""
        self._commands.labels(command, "ok" if ok else "error").observe(seconds)

    def connections_changed(self, state: str, by: int) -> None:
        """Count a connection to the database: "open" or "in_use". May be called by any thread."""
        self._connections.labels(state).inc(by)

    async def watch_event_loop(self) -> None:
        """Measure the lag of the event loop, until cancelled."""
        while True:
            asked = time.monotonic() + _LAG_INTERVAL
            await asyncio.sleep(_LAG_INTERVAL)
            self._lag.observe(max(0.0, time.monotonic() - asked))


@dataclass(slots=True)
class MethodMetrics:
    """The metrics of one RPC."""

    _started: Counter
    _seconds: Histogram
    _received: Counter
    _sent: Counter
    _handled: Counter
    _labels: tuple[str, ...]
    _by_code: dict[str, Counter]

    def began(self) -> None:
        """Count a call that begins, and the message that it begins with."""
        self._started.inc()
        self._received.inc()

    def sent(self) -> None:
        """Count a message sent."""
        self._sent.inc()

    def ended(self, code: str, seconds: float) -> None:
        """Count a call that has ended."""
        if code not in self._by_code:
            self._by_code[code] = self._handled.labels(*self._labels, code)
        self._by_code[code].inc()
        self._seconds.observe(seconds)


class AdminServer:
    """Serves the metrics over plain HTTP, in threads of its own, for as long as a block lasts."""

    def __init__(self, registry: CollectorRegistry, listen: ListenAddress) -> None:
        self._registry = registry
        self._listen = listen
        self._server: WSGIServer | None = None

    def __enter__(self) -> ListenAddress:
        try:
            self._server, _ = start_http_server(self._listen.port, self._listen.host, self._registry)
        except OSError as error:
            raise StartupError(
                f"cannot serve metrics on {self._listen}: {error.strerror}; name another --admin-listen"
            ) from error
        address = ListenAddress(self._listen.host, self._server.server_port)
        _log.info("metrics on http://%s/metrics", address)
        return address

    def __exit__(self, *_: object) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
