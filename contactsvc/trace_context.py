"""The spans of the calls that the current task serves, for the spans of its database commands.

A context variable carries them, as it carries the deadline. A command on behalf of several calls has several. Only
telemetry knows their class; without tracing there are none.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextvars import ContextVar

Spans = tuple[object, ...]

_spans: ContextVar[Spans] = ContextVar("spans", default=())


def begin(span: object) -> None:
    """Set the span of the call that the current task, and tasks that it creates, serve."""
    _spans.set((span,))


def begin_for(calls: Iterable[Spans]) -> None:
    """Set the spans of the calls that the current task serves together."""
    _spans.set(tuple(span for spans in calls for span in spans))


def spans() -> Spans:
    """Return the spans of the calls that the current task serves."""
    return _spans.get()
