"""Settings of a client, checked: target, API key, environment, TLS, timeout, retries."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite
from os import PathLike
from pathlib import Path
from typing import Any, Literal, TypedDict

import grpc

from contactsvc_client._errors import invalid
from contactsvc_client._items import Omitted
from contactsvc_client._messages import suggestion

Environment = Literal["live", "test"]

Pem = str | bytes | PathLike[str]
"""Certificates or a key in PEM format: the text itself, or the path of a file as a `pathlib.Path`."""

_TARGET_VARIABLE = "CONTACTSVC_TARGET"
_API_KEY_VARIABLE = "CONTACTSVC_API_KEY"
_MAX_PORT = 65_535
# Name resolution as gRPC writes it.
_RESOLVERS = ("dns:", "ipv4:", "ipv6:", "unix:", "unix-abstract:", "xds:")


class TlsOptions(TypedDict, total=False):
    """Certificates of a TLS connection.

    `ca` has the certificates of the authorities that sign the service's certificate; by default those that gRPC trusts.
    `cert` and `key` are the client's certificate chain and its private key, for services that require client
    certificates; they belong together.
    """

    ca: Pem
    cert: Pem
    key: Pem


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientSettings:
    """The settings of a client, checked and with their defaults; `AsyncContactsClient` describes them.

    Attributes:
        headers: the metadata headers of every call, the API key among them.
        credentials: None connects in plain text.
    """

    target: str
    headers: tuple[tuple[str, str], ...] = field(repr=False)
    credentials: grpc.ChannelCredentials | None
    timeout: float
    max_retries: int
    channel_options: tuple[tuple[str, Any], ...]


def checked_settings(
    target: str | None,
    *,
    api_key: str | Omitted | None,
    environment: str | None,
    timeout: float,
    max_retries: int,
    tls: bool | TlsOptions,
    credentials: grpc.ChannelCredentials | None,
    channel_options: Sequence[tuple[str, Any]],
    environ: Mapping[str, str],
) -> ClientSettings:
    """Return the settings of a client; raise ValidationError for an invalid one.

    `environ` has the environment variables, which set an omitted target and API key; `AsyncContactsClient` describes
    the other arguments.
    """
    if isinstance(api_key, Omitted):
        api_key = environ.get(_API_KEY_VARIABLE) or None
    if not isinstance(max_retries, int) or isinstance(max_retries, bool) or max_retries < 0:
        raise invalid("max_retries", "must be an integer that is not negative")
    if credentials is not None and tls:
        raise invalid("credentials", "cannot be combined with tls")
    return ClientSettings(
        target=_checked_target(target if target is not None else environ.get(_TARGET_VARIABLE)),
        headers=_headers(api_key, environment),
        credentials=credentials or _tls_credentials(tls),
        timeout=checked_timeout(timeout),
        max_retries=max_retries,
        channel_options=tuple(channel_options),
    )


def checked_timeout(timeout: float) -> float:
    """Return a timeout; raise ValidationError unless it is a positive number of seconds."""
    if isinstance(timeout, bool) or not isinstance(timeout, (int, float)) or not timeout > 0 or not isfinite(timeout):
        raise invalid("timeout", "must be a positive number of seconds")
    return timeout


def _checked_target(target: str | None) -> str:
    if not isinstance(target, str) or not target:
        raise invalid("target", f"is required, such as localhost:50051; {_TARGET_VARIABLE} sets it as well")
    if target.startswith(_RESOLVERS):
        return target
    if "://" in target:
        raise invalid(
            "target", "must be HOST:PORT without a scheme, such as localhost:50051; tls=True connects with TLS"
        )
    if re.fullmatch(r"[^\s:\[\]/]+|\[[^\s\]]+\]", target):
        raise invalid("target", f"has no port; it must be HOST:PORT, such as {target}:50051")
    found = re.fullmatch(r"(?:\[[^\s\]]+\]|[^\s:\[\]/]+):([0-9]{1,5})", target)
    if found is None or not 0 < int(found[1]) <= _MAX_PORT:
        raise invalid("target", "must be HOST:PORT, such as localhost:50051 or [::1]:50051")
    return target


def _headers(api_key: str | None, environment: str | None) -> tuple[tuple[str, str], ...]:
    if environment not in {None, "live", "test"}:
        raise invalid("environment", "must be live, test or None")
    headers = []
    if api_key is not None:
        # A key read from a file ends with a line break.
        key = api_key.strip() if isinstance(api_key, str) else ""
        if not key or not (key.isascii() and key.isprintable()):
            raise invalid("api_key", "must consist of printable ASCII characters")
        headers.append(("authorization", f"Bearer {key}"))
    if environment is not None:
        headers.append(("x-environment", environment))
    return tuple(headers)


def _tls_credentials(tls: bool | TlsOptions) -> grpc.ChannelCredentials | None:
    if isinstance(tls, bool):
        return grpc.ssl_channel_credentials() if tls else None
    if not isinstance(tls, Mapping):
        raise invalid("tls", "must be True, False or a dictionary with ca, cert and key")
    known = TlsOptions.__annotations__
    for name in tls:
        if name not in known:
            raise invalid(f"tls.{name}", f"is not an option{suggestion(name, known)}")
    if ("cert" in tls) != ("key" in tls):
        raise invalid("tls", "cert and key belong together; set both or none")
    ca, key, cert = (_pem(f"tls.{name}", tls[name]) if name in tls else None for name in ("ca", "key", "cert"))
    return grpc.ssl_channel_credentials(ca, key, cert)


def _pem(path: str, source: Pem) -> bytes:
    """Return the PEM text of an option. gRPC does not check it before the first connection."""
    if isinstance(source, PathLike):
        try:
            text = Path(source).read_bytes()
        except OSError as error:
            raise invalid(path, f"cannot be read: {error.strerror}") from error
    elif isinstance(source, str):
        text = source.encode()
    elif isinstance(source, bytes):
        text = source
    else:
        raise invalid(path, "must be PEM text, or the pathlib.Path of a PEM file")
    if b"-----BEGIN " not in text:
        raise invalid(path, "must be PEM text, or the pathlib.Path of a PEM file")
    return text
