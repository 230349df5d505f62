"""The trace that a call belongs to, where the application traces with OpenTelemetry.

The client neither needs nor imports OpenTelemetry: only an application that has imported it can have an active span.
"""

from __future__ import annotations

import sys


def headers() -> list[tuple[str, str]]:
    """Return the metadata headers of the active span, `traceparent` and perhaps `tracestate`; none without one."""
    trace = sys.modules.get("opentelemetry.trace")
    if trace is None or not trace.get_current_span().get_span_context().is_valid:
        return []
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    carrier: dict[str, str] = {}
    TraceContextTextMapPropagator().inject(carrier)
    return list(carrier.items())
