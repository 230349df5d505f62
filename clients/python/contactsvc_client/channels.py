"""How the clients' channels are set up: retries, headers, credentials."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from contactsvc.v1 import contact_methods_pb2 as pb
from contactsvc_client.filters import invalid

SERVICE = pb.DESCRIPTOR.services_by_name["ContactMethodsService"]
_NO_SIDE_EFFECTS = 1

# Only reads: a write that was not answered may have happened.
_READS = [method.name for method in SERVICE.methods if method.GetOptions().idempotency_level == _NO_SIDE_EFFECTS]
_SERVICE_CONFIG = {
    "methodConfig": [
        {
            "name": [{"service": SERVICE.full_name, "method": name} for name in _READS],
            "retryPolicy": {
                "maxAttempts": 4,
                "initialBackoff": "0.1s",
                "maxBackoff": "2s",
                "backoffMultiplier": 2,
                "retryableStatusCodes": ["UNAVAILABLE"],
            },
        }
    ]
}


def channel_options(extra: Sequence[tuple[str, Any]]) -> list[tuple[str, Any]]:
    """Return the options of a channel; the caller's own come last and win."""
    return [("grpc.enable_retries", 1), ("grpc.service_config", json.dumps(_SERVICE_CONFIG)), *extra]


def headers(api_key: str | None, environment: str | None) -> list[tuple[str, str]]:
    """Return the metadata that goes with every call."""
    if environment not in {None, "live", "test"}:
        raise invalid("environment", "must be live, test or None")
    sent = []
    if api_key is not None:
        sent.append(("authorization", f"Bearer {api_key}"))
    if environment is not None:
        sent.append(("x-environment", environment))
    return sent
