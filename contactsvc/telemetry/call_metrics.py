"""Metrics of calls: plain numbers, which become samples at a scrape.

The counters of the Prometheus library take a lock for each increment, six times per call (docs/measurements.md). Here
the event loop alone counts; a scrape reads from another thread, and sees each number before or after a call.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from itertools import accumulate

from prometheus_client import CollectorRegistry, Metric
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from contactsvc.telemetry.codes import GO_CODES

_LABELS = ("grpc_type", "grpc_service", "grpc_method")
_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_BOUNDS = (*map(floatToGoString, _BUCKETS), "+Inf")


class CallMetrics(Collector):
    """The metrics of all RPCs.

    Args:
        registry: collects them.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self._methods: list[MethodMetrics] = []
        registry.register(self)

    def of_method(self, kind: str, service: str, method: str) -> MethodMetrics:
        """Return the metrics of an RPC, which are 0 so far."""
        metrics = MethodMetrics((kind, service, method))
        self._methods.append(metrics)
        return metrics

    def collect(self) -> Iterable[Metric]:
        """Yield the metrics of all RPCs."""
        started = CounterMetricFamily("grpc_server_started", "RPCs started.", labels=_LABELS)
        handled = CounterMetricFamily(
            "grpc_server_handled", "RPCs completed, by status code.", labels=[*_LABELS, "grpc_code"]
        )
        errors = CounterMetricFamily(
            "contactsvc_errors", "RPCs that failed, by reason.", labels=["grpc_method", "reason"]
        )
        seconds = HistogramMetricFamily("grpc_server_handling_seconds", "Duration of RPCs in seconds.", labels=_LABELS)
        received = CounterMetricFamily("grpc_server_msg_received", "Messages received from callers.", labels=_LABELS)
        sent = CounterMetricFamily("grpc_server_msg_sent", "Messages sent to callers.", labels=_LABELS)
        for method in self._methods:
            # One request message per call.
            started.add_metric(method.labels, method.started)
            received.add_metric(method.labels, method.started)
            sent.add_metric(method.labels, method.messages_sent)
            for code, count in list(method.by_code.items()):
                handled.add_metric([*method.labels, GO_CODES[code]], count)
            for reason, count in list(method.by_reason.items()):
                errors.add_metric([method.labels[-1], reason], count)
            buckets = list(zip(_BOUNDS, accumulate(method.by_duration), strict=True))
            seconds.add_metric(method.labels, buckets, method.seconds)
        yield from (started, handled, errors, seconds, received, sent)


class MethodMetrics:
    """The metrics of one RPC.

    Args:
        labels: its type, service and name.

    Attributes:
        labels: as passed.
        started: calls started.
        messages_sent: messages sent.
        by_code: calls that have ended, by status.
        by_reason: calls that have failed, by reason.
        by_duration: calls that have ended, by bucket of their duration.
        seconds: the duration of all calls.
    """

    __slots__ = ("by_code", "by_duration", "by_reason", "labels", "messages_sent", "seconds", "started")

    def __init__(self, labels: tuple[str, str, str]) -> None:
        self.labels = labels
        self.started = self.messages_sent = 0
        self.by_code: dict[str, int] = {}
        self.by_reason: dict[str, int] = {}
        self.by_duration = [0] * len(_BOUNDS)
        self.seconds = 0.0

    def began(self) -> None:
        """Count the start of a call and its request message."""
        self.started += 1

    def sent(self) -> None:
        """Count a sent message."""
        self.messages_sent += 1

    def ended(self, code: str, reason: str, seconds: float) -> None:
        """Record the end of a call.

        Args:
            code: name of the gRPC status, as the gRPC specification spells it.
            reason: error reason, one of the contract; empty on success, and when the caller cancelled.
            seconds: duration.
        """
        self.by_code[code] = self.by_code.get(code, 0) + 1
        self.by_duration[bisect_left(_BUCKETS, seconds)] += 1
        self.seconds += seconds
        if reason:
            self.by_reason[reason] = self.by_reason.get(reason, 0) + 1
