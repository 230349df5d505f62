"""Options of the clients' channels: retries, load balancing, sizes."""

from __future__ import annotations

import json
import uuid
from collections.abc import Sequence
from typing import Any

from contactsvc_stubs.v1 import contact_methods_pb2 as pb

SERVICE = pb.DESCRIPTOR.services_by_name["ContactMethodsService"]
REQUEST_ID_HEADER = "x-request-id"
"""The metadata header with the id of a call in the log of the service."""

_NO_SIDE_EFFECTS = 1

_READS = [method.name for method in SERVICE.methods if method.GetOptions().idempotency_level == _NO_SIDE_EFFECTS]
# gRPC makes at most five attempts.
_MAX_GRPC_RETRIES = 4
_RETRY_POLICY = {
    "initialBackoff": "0.1s",
    "maxBackoff": "2s",
    "backoffMultiplier": 2,
    # CANCELLED as well: a server that stops ends the calls that it has received but not begun with it
    # (grpc/grpc#41785). A call that its own caller cancels is never repeated.
    "retryableStatusCodes": ["UNAVAILABLE", "CANCELLED"],
}


def channel_options(extra: Sequence[tuple[str, Any]], *, max_retries: int, retry_writes: bool) -> list[tuple[str, Any]]:
    """Return the options of a channel.

    Args:
        extra: the caller's options, which override the others.
        max_retries: how often a call is repeated while the service is unavailable.
        retry_writes: whether all calls are retried while the service is unavailable, or only reads. An unanswered write
            without a request_id may have been applied and must not be retried.
    """
    service = SERVICE.full_name
    names = [{"service": service}] if retry_writes else [{"service": service, "method": name} for name in _READS]
    # Balance over all addresses of the target; by default gRPC uses the first one only.
    config: dict[str, Any] = {"loadBalancingConfig": [{"round_robin": {}}]}
    if max_retries > 0:
        policy = {**_RETRY_POLICY, "maxAttempts": 1 + min(max_retries, _MAX_GRPC_RETRIES)}
        config["methodConfig"] = [{"name": names, "retryPolicy": policy}]
    return [
        ("grpc.enable_retries", 1),
        # gRPC's default of 1 s outlasts all four attempts: a connection that a stopping process accepted and reset
        # would fail the call although other processes answer.
        ("grpc.initial_reconnect_backoff_ms", 100),
        # After an outage, reconnect within 2 s; gRPC's default is up to two minutes.
        ("grpc.max_reconnect_backoff_ms", 2_000),
        # One connection per client. gRPC shares them by default: all clients of a process would reach the same worker,
        # and a new client would inherit the reconnect delay of a failed one.
        ("grpc.use_local_subchannel_pool", 1),
        ("grpc.service_config", json.dumps(config)),
        # A batch response with much metadata exceeds gRPC's default of 4 MiB.
        ("grpc.max_receive_message_length", -1),
        *extra,
    ]


def new_request_id() -> str:
    """Return a new id for a call."""
    return uuid.uuid4().hex
