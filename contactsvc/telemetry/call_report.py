"""The report of a finished call, as the call log receives it."""

from __future__ import annotations

from typing import NamedTuple


class CallReport(NamedTuple):
    """The result of a call, without its contents.

    Attributes:
        method: name of the RPC.
        code: name of the gRPC status.
        reason: error reason; empty on success.
        seconds: duration.
        request_id: sent by the caller, or generated.
        environment: live or test; empty when the caller was not authenticated.
        key_id: id of the API key; empty without one.
    """

    method: str
    code: str
    reason: str
    seconds: float
    request_id: str
    environment: str
    key_id: str
