"""Driver events of commands and connections, passed on without contents.

The drivers call listeners from any thread; Motor runs its commands in threads of its own.
"""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

from pymongo import monitoring

from contactsvc.embedded_names import READ_INDEX


class DatabaseTelemetry(Protocol):
    """Receives the events. The drivers call it from any thread."""

    def command_ended(self, command: str, *, ok: bool, seconds: float) -> None:
        """Record the end of a command."""
        ...

    def connections_changed(self, state: str, by: int) -> None:
        """Record a change in the number of connections that are `state`: "open" or "in_use"."""
        ...


class CommandSpan(Protocol):
    """The trace of a command that has started."""

    def succeeded(self) -> None:
        """End it with success."""

    def failed(self, code: int | None, error_type: str) -> None:
        """End it with an error: MongoDB's code, or the class of the error when there was no answer."""


@runtime_checkable
class CommandTracing(Protocol):
    """Receives the starts of commands: a `DatabaseTelemetry` that also traces them."""

    def command_started(
        self, command: str, *, database: str, collection: str, address: tuple[str, int | None]
    ) -> CommandSpan | None:
        """Start the trace of a command, in the context of the call that needs it; None for no trace."""
        ...


class CommandListener(monitoring.CommandListener):
    """Passes on the ends of commands, and their starts if they are traced."""

    def __init__(self, telemetry: DatabaseTelemetry) -> None:
        self._telemetry = telemetry
        self._tracing = telemetry if isinstance(telemetry, CommandTracing) else None
        self._spans: dict[tuple[object, int], CommandSpan] = {}

    def started(self, event: monitoring.CommandStartedEvent) -> None:
        """Pass on a start."""
        if self._tracing is None:
            return
        span = self._tracing.command_started(
            event.command_name,
            database=event.database_name,
            collection=_collection(event.command_name, event.command),
            address=event.connection_id,
        )
        if span is not None:
            self._spans[event.connection_id, event.request_id] = span

    def succeeded(self, event: monitoring.CommandSucceededEvent) -> None:
        """Pass on a success."""
        self._telemetry.command_ended(event.command_name, ok=True, seconds=event.duration_micros / 1e6)
        if self._spans and (span := self._spans.pop((event.connection_id, event.request_id), None)):
            span.succeeded()

    def failed(self, event: monitoring.CommandFailedEvent) -> None:
        """Pass on a failure."""
        self._telemetry.command_ended(event.command_name, ok=False, seconds=event.duration_micros / 1e6)
        if self._spans and (span := self._spans.pop((event.connection_id, event.request_id), None)):
            span.failed(event.failure.get("code"), event.failure.get("errtype", "_OTHER"))


# The commands whose first value is the name of a collection. That of others may be data.
_ON_A_COLLECTION = frozenset(
    {
        READ_INDEX,
        "aggregate",
        "count",
        "createIndexes",
        "delete",
        "distinct",
        "dropIndexes",
        "find",
        "findAndModify",
        "insert",
        "listIndexes",
        "update",
    }
)


def _collection(command: str, document: Any) -> str:
    """Return the name of the collection that a command names; empty if it names none, or several."""
    if command == "getMore":
        name = document.get("collection")
    else:
        name = document.get(command) if command in _ON_A_COLLECTION else None
    return name if isinstance(name, str) else ""


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
