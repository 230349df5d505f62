"""What the pipeline needs of gRPC and of tracing."""

from __future__ import annotations

from typing import Any, Protocol


class Context(Protocol):
    """What the pipeline uses of gRPC's ServicerContext."""

    def invocation_metadata(self) -> Any:
        """Return the metadata that came with the call."""

    def time_remaining(self) -> float | None:
        """Return the seconds until the caller's deadline; None when it has none."""

    def peer(self) -> str:
        """Return the address of the peer, which identifies the connection."""

    async def read(self) -> Any:
        """Return the next message of the request; grpc.aio.EOF after the last."""

    async def write(self, message: bytes) -> None:
        """Send a message of a stream; return once the transport has accepted it."""

    def set_trailing_metadata(self, trailing_metadata: Any) -> None:
        """Set the metadata that is sent with the status."""

    async def abort(self, code: Any, details: str = "", trailing_metadata: Any = ()) -> Any:
        """End the call with a status; raises."""


class Span(Protocol):
    """The trace of one call."""

    def end(self, code: str, reason: str, request_id: str) -> None:
        """End with the status of the call."""


class Tracing(Protocol):
    """Traces calls."""

    def start(self, method: str, headers: dict[str, tuple[str | bytes, ...]]) -> Span:
        """Begin the trace of a call."""
        ...
