"""Asking a server for its health, for probes that cannot speak gRPC or TLS themselves. Loads nothing of the service."""

from __future__ import annotations

from pathlib import Path

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from contactsvc.errors import StartupError

_PATIENCE = 5.0


def tls_credentials(ca: Path, certificate: Path | None, key: Path | None) -> grpc.ChannelCredentials:
    """Return the credentials of a caller.

    Args:
        ca: whose certificates to trust.
        certificate: what to show the server, if it asks (mTLS).
        key: its private key.

    Raises:
        StartupError: a file cannot be read.
    """
    try:
        roots, own_key, chain = (path.read_bytes() if path else None for path in (ca, key, certificate))
    except OSError as error:
        raise StartupError(f"cannot read {error.filename}: {error.strerror}") from error
    return grpc.ssl_channel_credentials(roots, own_key, chain)


async def probe(
    target: str, service: str, credentials: grpc.ChannelCredentials | None, server_name: str | None = None
) -> None:
    """Return when the service says that it is serving.

    Args:
        target: which server to ask.
        service: which service of it; "" is the server as a whole.
        credentials: TLS; None asks in plain text.
        server_name: which name the certificate must have, if not the one that is asked.

    Raises:
        StartupError: it says something else, or nothing.
    """
    # A proxy of the environment is for the way out, and a probe goes to its neighbour.
    options: list[tuple[str, str | int]] = [("grpc.enable_http_proxy", 0)]
    if server_name:
        options.append(("grpc.ssl_target_name_override", server_name))
    async with (
        grpc.aio.insecure_channel(target, options=options)
        if credentials is None
        else grpc.aio.secure_channel(target, credentials, options=options)
    ) as channel:
        try:
            response = await health_pb2_grpc.HealthStub(channel).Check(
                health_pb2.HealthCheckRequest(service=service), timeout=_PATIENCE
            )
        except grpc.aio.AioRpcError as error:
            raise StartupError(f"{target} does not say how it is: {error.code().name} {error.details()}") from error
    if response.status != health_pb2.HealthCheckResponse.SERVING:
        name = health_pb2.HealthCheckResponse.ServingStatus.Name(response.status)
        raise StartupError(f"{target} says {name} of {service or 'the server'}")
