"""Spans of database commands, as children of the spans of calls.

They hold names of commands, databases and collections, and codes of errors: never a query, a document or a value.
"""

from __future__ import annotations

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Link, Span, SpanKind, Status, StatusCode

from contactsvc import trace_context
from contactsvc.telemetry.metrics import Metrics


class TracedDatabase:
    """Records database commands as metrics and as spans. Thread-safe.

    A command on behalf of several calls has one span: the child of the first call's, with links to the others. Commands
    outside of calls, such as pings, have none, nor have those that authenticate a new connection.

    Args:
        metrics: of the process.
        tracer: creates the spans.
    """

    def __init__(self, metrics: Metrics, tracer: trace.Tracer) -> None:
        self.command_ended = metrics.command_ended
        self.connections_changed = metrics.connections_changed
        self._tracer = tracer

    def command_started(
        self, command: str, *, database: str, collection: str, address: tuple[str, int | None]
    ) -> CommandSpan | None:
        """Start the span of a command; return None when no traced call needs it.

        Args:
            command: name of the command.
            database: name of the database.
            collection: name of the collection; empty for a command on none.
            address: host and port of the server.
        """
        if command.startswith("sasl"):
            return None
        served = [span for span in trace_context.spans() if isinstance(span, Span)]
        sampled = [span for span in served if span.get_span_context().trace_flags.sampled]
        if not sampled:
            return None
        host, port = address
        attributes: dict[str, str | int] = {
            "db.system.name": "mongodb",
            "db.operation.name": command,
            "db.namespace": database,
            "server.address": host,
        }
        if collection:
            attributes["db.collection.name"] = collection
        if port is not None:
            attributes["server.port"] = port
        return CommandSpan(
            self._tracer.start_span(
                f"{command} {collection or database}",
                context=trace.set_span_in_context(sampled[0], Context()),
                kind=SpanKind.CLIENT,
                attributes=attributes,
                links=[Link(span.get_span_context()) for span in sampled[1:]],
            )
        )


class CommandSpan:
    """The span of a database command."""

    def __init__(self, span: Span) -> None:
        self._span = span

    def succeeded(self) -> None:
        """End the span of a command that succeeded."""
        self._span.end()

    def failed(self, code: int | None, error_type: str) -> None:
        """End the span of a command that failed.

        Args:
            code: MongoDB's code of the error; None when the command got no answer.
            error_type: class of the error, used without a code.
        """
        if code is not None:
            self._span.set_attribute("db.response.status_code", str(code))
        self._span.set_attribute("error.type", error_type if code is None else str(code))
        self._span.set_status(Status(StatusCode.ERROR))
        self._span.end()
