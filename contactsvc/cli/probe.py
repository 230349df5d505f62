"""`contactsvc probe`: a health check, for platforms that cannot call gRPC or TLS themselves."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

import click

from contactsvc.cli import exits, options, stdio
from contactsvc.config import Settings
from contactsvc.errors import ConfigurationError, StartupError

if TYPE_CHECKING:
    import grpc

_TIMEOUT_SECONDS = 5.0


@click.command()
@click.option(
    "--target", default=str(Settings.listen), show_default=True, metavar="HOST:PORT", help="Address of the server."
)
@click.option("--service", default="", metavar="NAME", help="Service to check, such as liveness.  [the whole server]")
@click.option("--tls-ca", type=options.FILE, help="CA certificates to trust.  [none: plain text]")
@click.option("--tls-server-name", metavar="NAME", help="Name in the server's certificate.  [the host of the target]")
@click.option("--tls-cert", type=options.FILE, help="Client certificate, for servers that require one (mTLS).")
@click.option("--tls-key", type=options.FILE, help="Private key of the client certificate.")
def probe(
    target: str,
    service: str,
    tls_ca: Path | None,
    tls_server_name: str | None,
    tls_cert: Path | None,
    tls_key: Path | None,
) -> None:
    """Check the health of a server.

    Exit codes: 0 if it is SERVING, 2 for wrong flags, 1 otherwise.
    """
    with exits.exit_codes():
        if (tls_cert is None) != (tls_key is None):
            raise ConfigurationError("--tls-cert and --tls-key must be set together")
        if tls_ca is None and (tls_cert is not None or tls_server_name is not None):
            raise ConfigurationError("--tls-cert, --tls-key and --tls-server-name require --tls-ca")
        credentials = None if tls_ca is None else _credentials(tls_ca, tls_cert, tls_key)
        asyncio.run(_check_health(target, service, credentials, tls_server_name))
        stdio.print_line("SERVING")


def _credentials(ca: Path, certificate: Path | None, key: Path | None) -> grpc.ChannelCredentials:
    import grpc

    try:
        roots, own_key, chain = (path.read_bytes() if path else None for path in (ca, key, certificate))
    except OSError as error:
        raise StartupError(f"cannot read {error.filename}: {error.strerror}") from error
    return grpc.ssl_channel_credentials(roots, own_key, chain)


async def _check_health(
    target: str, service: str, credentials: grpc.ChannelCredentials | None, server_name: str | None
) -> None:
    """Return if the service is healthy.

    Args:
        target: address of the server.
        service: name of the service; empty for the server as a whole.
        credentials: TLS credentials; None for plain text.
        server_name: name that the server's certificate must have; None for the host of the target.

    Raises:
        StartupError: the service is not healthy, or does not answer.
    """
    import grpc
    from grpc_health.v1 import health_pb2, health_pb2_grpc

    # HTTP proxies in the environment are meant for outbound traffic, not for a probe of a neighbour.
    channel_options: list[tuple[str, str | int]] = [("grpc.enable_http_proxy", 0)]
    if server_name:
        channel_options.append(("grpc.ssl_target_name_override", server_name))
    async with (
        grpc.aio.insecure_channel(target, options=channel_options)
        if credentials is None
        else grpc.aio.secure_channel(target, credentials, options=channel_options)
    ) as channel:
        try:
            response = await health_pb2_grpc.HealthStub(channel).Check(
                health_pb2.HealthCheckRequest(service=service), timeout=_TIMEOUT_SECONDS
            )
        except grpc.aio.AioRpcError as error:
            raise StartupError(f"health check of {target} failed: {error.code().name} {error.details()}") from error
    if response.status != health_pb2.HealthCheckResponse.SERVING:
        status = health_pb2.HealthCheckResponse.ServingStatus.Name(response.status)
        raise StartupError(f"{target} reports {status} for {service or 'the server'}")
