"""TLS: certificates from files, read again when the files change, so that they can be rotated without a restart."""

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

_SOON = timedelta(days=14)
_REMIND_EVERY = timedelta(hours=12).total_seconds()

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """Where the certificates are.

    Attributes:
        certificate: the chain of the server, PEM, its own first.
        key: the private key of the server, PEM, without a passphrase.
        client_ca: whose clients are let in (mTLS); None asks clients for no certificate.
    """

    certificate: Path
    key: Path
    client_ca: Path | None = None

    @property
    def all(self) -> tuple[Path, ...]:
        """All files that there are."""
        return (self.certificate, self.key, *([self.client_ca] if self.client_ca else []))


class ReloadingCertificates:
    """The server's credentials, always of the files as they are now.

    When the files change into something unusable the certificate in use stays, and the log says why.

    Args:
        files: where the certificates are.
        expires: told when the certificate in use expires, whenever another one is taken into use.

    Raises:
        ConfigurationError: the files cannot be used.
    """

    def __init__(self, files: TlsFiles, expires: Callable[[datetime], None]) -> None:
        self._files = files
        self._expires = expires
        self._seen = self._state()
        try:
            self._configuration = self._load()
        except _Unusable as error:
            raise ConfigurationError(str(error)) from error

    def credentials(self) -> grpc.ServerCredentials:
        """Return the credentials of a server."""
        credentials: grpc.ServerCredentials = grpc.dynamic_ssl_server_credentials(
            self._configuration,
            self._fetch,  # type: ignore[arg-type]  # None says that nothing has changed, as gRPC documents it
            self._files.client_ca is not None,
        )
        return credentials

    async def remind(self) -> None:
        """Say again and again when the certificate in use is about to expire, until cancelled."""
        while True:
            await asyncio.sleep(_REMIND_EVERY)
            self._tell_expiry()

    def _fetch(self) -> grpc.ServerCertificateConfiguration | None:
        """Return new certificates if the files have changed. Called by gRPC before each handshake, in its threads."""
        state = self._state()
        if state == self._seen:
            return None
        self._seen = state
        try:
            self._configuration = self._load()
        except _Unusable as error:
            _log.error("keeping the certificate in use, for the new one is no good: %s", error)
            return None
        _log.info("took the new certificate of %s into use", self._files.certificate)
        return self._configuration

    def _load(self) -> grpc.ServerCertificateConfiguration:
        files = self._files
        chain, key = _content(files.certificate), _content(files.key)
        roots = _content(files.client_ca) if files.client_ca else None
        try:
            # What gRPC would only find out at a handshake, and keep to itself.
            trial = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            trial.load_cert_chain(files.certificate, files.key, password=_no_passphrase)
        except OSError as error:
            # ssl.SSLError is one: a key that does not fit, or a file that is no PEM.
            raise _Unusable(
                f"cannot use the certificate {files.certificate} with the key {files.key}: "
                f"{getattr(error, 'reason', None) or error.strerror}"
            ) from error
        own = _certificates(files.certificate, chain)[0]
        if files.client_ca and roots is not None:
            _certificates(files.client_ca, roots)
        self._valid_from, self._valid_until = own.not_valid_before_utc, own.not_valid_after_utc
        self._expires(self._valid_until)
        self._tell_expiry()
        pairs = [(key, chain)]
        configuration: grpc.ServerCertificateConfiguration = grpc.ssl_server_certificate_configuration(pairs, roots)
        return configuration

    def _tell_expiry(self) -> None:
        at, now = self._valid_until, datetime.now(UTC)
        left = at - now
        if self._valid_from > now:
            _log.error("the certificate %s is not valid before %s", self._files.certificate, self._valid_from)
        if left <= timedelta():
            _log.error("the certificate %s expired at %s: clients will refuse it", self._files.certificate, at)
        elif left < _SOON:
            _log.warning("the certificate %s expires at %s", self._files.certificate, at)

    def _state(self) -> tuple[tuple[int, int, int] | None, ...]:
        # The inode as well: Kubernetes swaps a symbolic link, and the new file may be as old and as long as the other.
        state: list[tuple[int, int, int] | None] = []
        for path in self._files.all:
            try:
                found = path.stat()
                state.append((found.st_mtime_ns, found.st_size, found.st_ino))
            except OSError:
                state.append(None)
        return tuple(state)


class _Unusable(Exception):
    """The files cannot be used; the message says why."""


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise _Unusable(f"cannot read {path}: {error.strerror}") from error


def _certificates(path: Path, content: bytes) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(content)
    except ValueError as error:
        raise _Unusable(f"{path} has no PEM certificate, or one that cannot be read") from error


def _no_passphrase() -> bytes:
    # Instead of OpenSSL's question on the terminal.
    raise _Unusable("the private key has a passphrase; store it without one, readable for the service only")
