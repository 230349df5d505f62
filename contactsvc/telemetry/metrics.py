"""Prometheus metrics of the service.

The gRPC metrics have the names and codes of the gRPC middleware for Go. Labels hold methods, codes, reasons and command
names only, never the contents of a request.
"""

from __future__ import annotations

import asyncio
import time

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector

from contactsvc import __version__
from contactsvc.domain.verification import VerificationEvent
from contactsvc.telemetry.call_metrics import CallMetrics, MethodMetrics
from contactsvc.telemetry.limit import Limit

_COMMAND_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0)
_LAG_BUCKETS = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0)
_LAG_INTERVAL_SECONDS = 0.5


class Metrics:
    """The metrics of one process, in their own registry.

    On Linux they include the standard metrics of a process: `process_resident_memory_bytes` and the like.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        registry = self.registry
        ProcessCollector(registry=registry)
        self._calls = CallMetrics(registry)
        self.in_flight = Gauge("contactsvc_in_flight_calls", "RPCs in flight.", registry=registry)
        self._rejected = Counter(
            "contactsvc_rejected_calls",
            "RPCs rejected with OVERLOADED, by limit.",
            ["limit"],
            registry=registry,
        )
        verifications = Counter(
            "contactsvc_verifications",
            "Starts and checks of verifications, by result.",
            ["result"],
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
        # All exist from the start, so that the first increase is one from 0.
        self._rejected_by = {limit: self._rejected.labels(limit) for limit in Limit}
        self._verifications_by = {event: verifications.labels(event) for event in VerificationEvent}

    def of_method(self, kind: str, service: str, method: str) -> MethodMetrics:
        """Return the metrics of an RPC."""
        return self._calls.of_method(kind, service, method)

    def rejected(self, limit: Limit) -> None:
        """Count a call rejected by a limit."""
        self._rejected_by[limit].inc()

    def verification_event(self, event: VerificationEvent) -> None:
        """Count the result of a start or a check of a verification."""
        self._verifications_by[event].inc()

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
