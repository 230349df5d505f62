"""Prometheus metrics of the service.

The gRPC metrics have the names of the gRPC middleware for Go and Java. Labels hold methods, statuses and command names
only, never the contents of a request.
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

_CALL_LABELS = ["grpc_type", "grpc_service", "grpc_method"]
_CALL_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_COMMAND_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0)
_LAG_BUCKETS = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0)
_LAG_INTERVAL_SECONDS = 0.5

_log = logging.getLogger(__name__)


class Metrics:
    """The metrics of one process, in their own registry."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        registry = self.registry
        self._started = Counter("grpc_server_started", "RPCs started.", _CALL_LABELS, registry=registry)
        self._handled = Counter(
            "grpc_server_handled", "RPCs completed, by status code.", [*_CALL_LABELS, "grpc_code"], registry=registry
        )
        self._seconds = Histogram(
            "grpc_server_handling_seconds",
            "Duration of RPCs in seconds.",
            _CALL_LABELS,
            registry=registry,
            buckets=_CALL_BUCKETS,
        )
        self._received = Counter(
            "grpc_server_msg_received", "Messages received from callers.", _CALL_LABELS, registry=registry
        )
        self._sent = Counter("grpc_server_msg_sent", "Messages sent to callers.", _CALL_LABELS, registry=registry)
        self.in_flight = Gauge("contactsvc_in_flight_calls", "RPCs in flight.", registry=registry)
        self._rejected = Counter(
            "contactsvc_rejected_calls",
            "RPCs rejected by a limit of calls in flight, by limit.",
            ["limit"],
            registry=registry,
        )
        self._commands = Histogram(
            "contactsvc_database_command_seconds",
            "Duration of database commands in seconds.",
            ["command", "outcome"],
            registry=registry,
            buckets=_COMMAND_BUCKETS,
        )
        self._connections = Gauge(
            "contactsvc_database_connections", "Database connections, by state.", ["state"], registry=registry
        )
        self.database_up = Gauge(
            "contactsvc_database_up", "1 if the database answered the last ping, else 0.", registry=registry
        )
        self._lag = Histogram(
            "contactsvc_event_loop_lag_seconds",
            "Delay of a timer of the event loop in seconds.",
            registry=registry,
            buckets=_LAG_BUCKETS,
        )
        self.certificate_expiry = Gauge(
            "contactsvc_tls_certificate_expiry_timestamp_seconds",
            "Expiry of the TLS certificate in use as a Unix timestamp; 0 without TLS.",
            registry=registry,
        )
        build = Gauge(
            "contactsvc_build_info", "Constant 1, labelled with the running version.", ["version"], registry=registry
        )
        build.labels(__version__).set(1)
        for limit in ("process", "key", "bytes", "requests"):
            self._rejected.labels(limit)

    def of_method(self, kind: str, service: str, method: str) -> MethodMetrics:
        """Return the metrics of an RPC, with their labels resolved."""
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
        """Count a call rejected by a limit: "process" or "key"."""
        self._rejected.labels(limit).inc()

    def command_ended(self, command: str, *, ok: bool, seconds: float) -> None:
        """Record a database command. Thread-safe."""
        self._commands.labels(command, "ok" if ok else "error").observe(seconds)

    def connections_changed(self, state: str, by: int) -> None:
        """Count database connections by state, "open" or "in_use". Thread-safe."""
        self._connections.labels(state).inc(by)

    async def watch_event_loop(self) -> None:
        """Measure the lag of the event loop until cancelled."""
        while True:
            due = time.monotonic() + _LAG_INTERVAL_SECONDS
            await asyncio.sleep(_LAG_INTERVAL_SECONDS)
            self._lag.observe(max(0.0, time.monotonic() - due))


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
        """Count the start of a call and its request message."""
        self._started.inc()
        self._received.inc()

    def sent(self) -> None:
        """Count a sent message."""
        self._sent.inc()

    def ended(self, code: str, seconds: float) -> None:
        """Record the end of a call."""
        if code not in self._by_code:
            self._by_code[code] = self._handled.labels(*self._labels, code)
        self._by_code[code].inc()
        self._seconds.observe(seconds)


class AdminServer:
    """Context manager that serves metrics over plain HTTP from its own threads."""

    def __init__(self, registry: CollectorRegistry, listen: ListenAddress) -> None:
        self._registry = registry
        self._listen = listen
        self._server: WSGIServer | None = None

    def __enter__(self) -> ListenAddress:
        try:
            self._server, _ = start_http_server(self._listen.port, self._listen.host, self._registry)
        except OSError as error:
            raise StartupError(
                f"cannot serve metrics on {self._listen}: {error.strerror}; choose another --admin-listen"
            ) from error
        address = ListenAddress(self._listen.host, self._server.server_port)
        _log.info("metrics on http://%s/metrics", address)
        return address

    def __exit__(self, *_: object) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
