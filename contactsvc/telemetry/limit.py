"""The limits by which calls are refused, as the metric of refused calls names them."""

from __future__ import annotations

from enum import StrEnum, unique


@unique
class Limit(StrEnum):
    """A limit that refuses calls with OVERLOADED.

    A new limit needs its line here, and nothing else in the metrics: the counter of each exists from the start, so that
    the first refusal is an increase from 0.
    """

    PROCESS = "process"
    """Calls in flight in the process."""
    KEY = "key"
    """Calls in flight with one API key."""
    RATE = "rate"
    """Calls per second with one API key."""
    BYTES = "bytes"
    """Bytes of requests and answers that are under way."""
    REQUESTS = "requests"
    """Requests that have begun to arrive and are not complete."""
    SCANS = "scans"
    """Lists, streams and counts at a time that may read many records."""
