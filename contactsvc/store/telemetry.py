"""Driver events of commands and connections, passed on without contents.

The drivers call listeners from any thread; Motor runs its commands in threads of its own.
"""

from __future__ import annotations

from typing import Protocol

from pymongo import monitoring


class DatabaseTelemetry(Protocol):
    """Receives the events. The drivers call it from any thread."""

    def command_ended(self, command: str, *, ok: bool, seconds: float) -> None:
        """Record the end of a command."""
        ...

    def connections_changed(self, state: str, by: int) -> None:
        """Record a change in the number of connections that are `state`: "open" or "in_use"."""
        ...


class CommandListener(monitoring.CommandListener):
    """Passes on the ends of commands."""

    def __init__(self, telemetry: DatabaseTelemetry) -> None:
        self._telemetry = telemetry

    def started(self, event: monitoring.CommandStartedEvent) -> None:
        """Do nothing: the event at the end has the duration."""

    def succeeded(self, event: monitoring.CommandSucceededEvent) -> None:
        """Pass on a success."""
        self._telemetry.command_ended(event.command_name, ok=True, seconds=event.duration_micros / 1e6)

    def failed(self, event: monitoring.CommandFailedEvent) -> None:
        """Pass on a failure."""
        self._telemetry.command_ended(event.command_name, ok=False, seconds=event.duration_micros / 1e6)


class ConnectionListener(monitoring.ConnectionPoolListener):
    """Passes on changes in the number of connections."""

    def __init__(self, telemetry: DatabaseTelemetry) -> None:
        self._telemetry = telemetry

    def connection_created(self, event: monitoring.ConnectionCreatedEvent) -> None:
        """Pass on a new connection."""
        self._telemetry.connections_changed("open", 1)

    def connection_closed(self, event: monitoring.ConnectionClosedEvent) -> None:
        """Pass on a closed connection."""
        self._telemetry.connections_changed("open", -1)

    def connection_checked_out(self, event: monitoring.ConnectionCheckedOutEvent) -> None:
        """Pass on a connection that comes into use."""
        self._telemetry.connections_changed("in_use", 1)

    def connection_checked_in(self, event: monitoring.ConnectionCheckedInEvent) -> None:
        """Pass on a connection that is free again."""
        self._telemetry.connections_changed("in_use", -1)

    def pool_created(self, event: monitoring.PoolCreatedEvent) -> None:
        """Do nothing."""

    def pool_ready(self, event: monitoring.PoolReadyEvent) -> None:
        """Do nothing."""

    def pool_cleared(self, event: monitoring.PoolClearedEvent) -> None:
        """Do nothing: each connection has an event of its own."""

    def pool_closed(self, event: monitoring.PoolClosedEvent) -> None:
        """Do nothing."""

    def connection_ready(self, event: monitoring.ConnectionReadyEvent) -> None:
        """Do nothing."""

    def connection_check_out_started(self, event: monitoring.ConnectionCheckOutStartedEvent) -> None:
        """Do nothing."""

    def connection_check_out_failed(self, event: monitoring.ConnectionCheckOutFailedEvent) -> None:
        """Do nothing: the call that needed it fails, and is counted."""
