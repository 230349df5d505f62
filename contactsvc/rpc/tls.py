"""TLS certificates from files, reloaded when the files change, so that rotation needs no restart."""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc
from cryptography import x509

from contactsvc.errors import ConfigurationError

_EXPIRY_WARNING = timedelta(days=14)
_REMINDER_INTERVAL_SECONDS = timedelta(hours=12).total_seconds()

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """Paths of the certificate files, all PEM.

    Attributes:
        certificate: chain of the server, its own certificate first.
        key: private key of the server, without a passphrase.
        client_ca: CA of client certificates (mTLS); None requests no client certificate.
    """

    certificate: Path
    key: Path
    client_ca: Path | None = None

    @property
    def all(self) -> tuple[Path, ...]:
        """All configured paths."""
        return (self.certificate, self.key, *([self.client_ca] if self.client_ca else []))


class ReloadingCertificates:
    """Server credentials that follow the files.

    Invalid new files are logged, and the certificate in use is kept.

    Args:
        files: paths of the certificates.
        on_expiry: receives the expiry of every certificate that is taken into use.

    Raises:
        ConfigurationError: the files cannot be used.
    """

    def __init__(self, files: TlsFiles, on_expiry: Callable[[datetime], None]) -> None:
        self._files = files
        self._on_expiry = on_expiry
        self._seen = self._state()
        try:
            self._configuration = self._load()
        except _Unusable as error:
            raise ConfigurationError(str(error)) from error

    def credentials(self) -> grpc.ServerCredentials:
        """Return gRPC server credentials."""
        credentials: grpc.ServerCredentials = grpc.dynamic_ssl_server_credentials(
            self._configuration,
            self._fetch,  # type: ignore[arg-type]  # gRPC documents None as: unchanged
            self._files.client_ca is not None,
        )
        return credentials

    async def remind(self) -> None:
        """Log the coming expiry of the certificate periodically, until cancelled."""
        while True:
            await asyncio.sleep(_REMINDER_INTERVAL_SECONDS)
            self._log_expiry()

    def _fetch(self) -> grpc.ServerCertificateConfiguration | None:
        """Return new certificates if the files have changed; None otherwise. gRPC calls it before each handshake."""
        state = self._state()
        if state == self._seen:
            return None
        self._seen = state
        try:
            self._configuration = self._load()
        except _Unusable as error:
            _log.error("keeping the certificate in use, because the new one is invalid: %s", error)
            return None
        _log.info("took the new certificate %s into use", self._files.certificate)
        return self._configuration

    def _load(self) -> grpc.ServerCertificateConfiguration:
        files = self._files
        chain, key = _content(files.certificate), _content(files.key)
        roots = _content(files.client_ca) if files.client_ca else None
        try:
            # gRPC would fail only at a handshake, and without a message.
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(files.certificate, files.key, password=_no_passphrase)
        except OSError as error:
            # Includes ssl.SSLError: the key does not match, or a file is not PEM.
            raise _Unusable(
                f"cannot use the certificate {files.certificate} with the key {files.key}: "
                f"{getattr(error, 'reason', None) or error.strerror}"
            ) from error
        own = _certificates(files.certificate, chain)[0]
        if files.client_ca and roots is not None:
            _certificates(files.client_ca, roots)
        self._valid_from, self._valid_until = own.not_valid_before_utc, own.not_valid_after_utc
        self._on_expiry(self._valid_until)
        self._log_expiry()
        pairs = [(key, chain)]
        configuration: grpc.ServerCertificateConfiguration = grpc.ssl_server_certificate_configuration(pairs, roots)
        return configuration

    def _log_expiry(self) -> None:
        at, now = self._valid_until, datetime.now(UTC)
        left = at - now
        if self._valid_from > now:
            _log.error("the certificate %s is not valid before %s", self._files.certificate, self._valid_from)
        if left <= timedelta():
            _log.error("the certificate %s expired at %s: clients reject it", self._files.certificate, at)
        elif left < _EXPIRY_WARNING:
            _log.warning("the certificate %s expires at %s", self._files.certificate, at)

    def _state(self) -> tuple[tuple[int, int, int] | None, ...]:
        # Kubernetes swaps a symbolic link: the new file may have the same time and size, but another inode.
        state: list[tuple[int, int, int] | None] = []
        for path in self._files.all:
            try:
                found = path.stat()
                state.append((found.st_mtime_ns, found.st_size, found.st_ino))
            except OSError:
                state.append(None)
        return tuple(state)


class _Unusable(Exception):
    """The files cannot be used; the message gives the reason."""


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise _Unusable(f"cannot read {path}: {error.strerror}") from error


def _certificates(path: Path, content: bytes) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(content)
    except ValueError as error:
        raise _Unusable(f"{path} has no readable PEM certificate") from error


def _no_passphrase() -> bytes:
    # OpenSSL would ask on the terminal.
    raise _Unusable("the private key has a passphrase; store it without one, readable by the service only")
