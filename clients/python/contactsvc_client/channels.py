"""How the clients' channels are set up: retries, headers, credentials."""

from __future__ import annotations

import json
import uuid
from collections.abc import Sequence
from typing import Any

from contactsvc.v1 import contact_methods_pb2 as pb
from contactsvc_client.filters import invalid

SERVICE = pb.DESCRIPTOR.services_by_name["ContactMethodsService"]
REQUEST_ID_HEADER = "x-request-id"
"""The metadata header that names a call in the service's log."""

_NO_SIDE_EFFECTS = 1

_READS = [method.name for method in SERVICE.methods if method.GetOptions().idempotency_level == _NO_SIDE_EFFECTS]
_RETRY_POLICY = {
    "maxAttempts": 4,
    "initialBackoff": "0.1s",
    "maxBackoff": "2s",
    "backoffMultiplier": 2,
    # CANCELLED as well: a server that stops ends the calls that it has received but not begun with it
    # (grpc/grpc#41785). A call that its own caller cancels is never repeated.
    "retryableStatusCodes": ["UNAVAILABLE", "CANCELLED"],
}


def channel_options(extra: Sequence[tuple[str, Any]], *, retry_writes: bool) -> list[tuple[str, Any]]:
    """Return the options of a channel; the caller's own come last and win.

    Args:
        extra: the caller's own options.
        retry_writes: whether all calls are repeated while the service is unavailable, or only reads. A write without a
            request_id that was not answered may have happened, and must not be repeated.
    """
    service = SERVICE.full_name
    names = [{"service": service}] if retry_writes else [{"service": service, "method": name} for name in _READS]
    config = {
        # Over all replicas that the name of the service has; gRPC's default would use the first only.
        "loadBalancingConfig": [{"round_robin": {}}],
        "methodConfig": [{"name": names, "retryPolicy": _RETRY_POLICY}],
    }
    return [
        ("grpc.enable_retries", 1),
        # gRPC's default of a second is longer than all four attempts: a connection that a dying process still took and
        # reset would be the end of the call, although others answer.
        ("grpc.initial_reconnect_backoff_ms", 100),
        # And at most two seconds between attempts, so that an outage is over for callers when it is over: by gRPC's
        # default that could be two minutes.
        ("grpc.max_reconnect_backoff_ms", 2_000),
        # Each client has connections of its own. Shared ones, gRPC's default, would lead all clients of a process to
        # one worker, and a new client would inherit the pause of one that found nobody.
        ("grpc.use_local_subchannel_pool", 1),
        ("grpc.service_config", json.dumps(config)),
        # The answer to a batch of records with much metadata is larger than gRPC's default of 4 MiB.
        ("grpc.max_receive_message_length", -1),
        *extra,
    ]


def new_request_id() -> str:
    """Return a name for a call."""
    return uuid.uuid4().hex


def headers(api_key: str | None, environment: str | None) -> list[tuple[str, str]]:
    """Return the metadata that goes with every call."""
    if environment not in {None, "live", "test"}:
        raise invalid("environment", "must be live, test or None")
    sent = []
    if api_key is not None:
        # A file that holds a key ends with a line break.
        key = api_key.strip()
        if not (key.isascii() and key.isprintable()):
            raise invalid("api_key", "must have printable ASCII characters only")
        sent.append(("authorization", f"Bearer {key}"))
    if environment is not None:
        sent.append(("x-environment", environment))
    return sent
