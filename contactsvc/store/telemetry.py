"""What the drivers tell of commands and connections, passed on without anything of their contents.

The drivers call from any thread, and Motor's commands run in threads of its own.
"""

from __future__ import annotations

from typing import Protocol

from pymongo import monitoring


class DatabaseTelemetry(Protocol):
    """Whoever wants to know."""

    def command_ended(self, command: str, *, ok: bool, seconds: float) -> None:
        """Take note of a command that has ended. May be called by any thread."""
        ...

    def connections_changed(self, state: str, by: int) -> None:
        """Take note of connections: `state` is "open" or "in_use". May be called by any thread."""
        ...


class CommandTimes(monitoring.CommandListener):
    """Passes on how long commands take."""

    def __init__(self, telemetry: DatabaseTelemetry) -> None:
        self._telemetry = telemetry

    def started(self, event: monitoring.CommandStartedEvent) -> None:
        """Do nothing: the end tells how long it took."""

    def succeeded(self, event: monitoring.CommandSucceededEvent) -> None:
        """Pass on a command that succeeded."""
        self._telemetry.command_ended(event.command_name, ok=True, seconds=event.duration_micros / 1e6)

    def failed(self, event: monitoring.CommandFailedEvent) -> None:
        """Pass on a command that failed."""
        self._telemetry.command_ended(event.command_name, ok=False, seconds=event.duration_micros / 1e6)


class ConnectionCounts(monitoring.ConnectionPoolListener):
    """Passes on how many connections there are."""

    def __init__(self, telemetry: DatabaseTelemetry) -> None:
        self._telemetry = telemetry

    def connection_created(self, event: monitoring.ConnectionCreatedEvent) -> None:
        """Pass on a new connection."""
        self._telemetry.connections_changed("open", 1)

    def connection_closed(self, event: monitoring.ConnectionClosedEvent) -> None:
        """Pass on that a connection is gone."""
        self._telemetry.connections_changed("open", -1)

    def connection_checked_out(self, event: monitoring.ConnectionCheckedOutEvent) -> None:
        """Pass on that a connection is taken into use."""
        self._telemetry.connections_changed("in_use", 1)

    def connection_checked_in(self, event: monitoring.ConnectionCheckedInEvent) -> None:
        """Pass on that a connection is free again."""
        self._telemetry.connections_changed("in_use", -1)

    def pool_created(self, event: monitoring.PoolCreatedEvent) -> None:
        """Do nothing."""

    def pool_ready(self, event: monitoring.PoolReadyEvent) -> None:
        """Do nothing."""

    def pool_cleared(self, event: monitoring.PoolClearedEvent) -> None:
        """Do nothing: each connection is told of by itself."""

    def pool_closed(self, event: monitoring.PoolClosedEvent) -> None:
        """Do nothing."""

    def connection_ready(self, event: monitoring.ConnectionReadyEvent) -> None:
        """Do nothing."""

    def connection_check_out_started(self, event: monitoring.ConnectionCheckOutStartedEvent) -> None:
        """Do nothing."""

    def connection_check_out_failed(self, event: monitoring.ConnectionCheckOutFailedEvent) -> None:
        """Do nothing: the call that wanted it fails, and is counted."""
