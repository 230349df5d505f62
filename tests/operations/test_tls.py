"""TLS, client certificates, and rotation of certificates."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest
import trustme
from contactsvc_client import AsyncContactsClient, NetworkError, NotFoundError

from contactsvc.config import ListenAddress
from contactsvc.domain.normalization import ValueRules
from contactsvc.errors import ConfigurationError
from contactsvc.rpc.tls import ReloadingCertificates, TlsFiles
from contactsvc.runtime.server import Server
from tests.conftest import OpenStores


class Files:
    """Certificate files of a server, replaced as an operator would."""

    def __init__(self, directory: Path, *, client_ca: trustme.CA | None = None) -> None:
        self.directory = directory
        self.files = TlsFiles(directory / "tls.crt", directory / "tls.key")
        if client_ca is not None:
            client_ca.cert_pem.write_to_path(directory / "ca.crt")
            self.files = TlsFiles(self.files.certificate, self.files.key, directory / "ca.crt")

    def write(self, ca: trustme.CA, **options: Any) -> None:
        """Issue a certificate and replace the files atomically."""
        made = ca.issue_cert("localhost", **options)
        for path, blob in (
            (self.files.key, made.private_key_pem.bytes()),
            (self.files.certificate, b"".join(pem.bytes() for pem in made.cert_chain_pems)),
        ):
            fresh = path.with_suffix(".new")
            fresh.write_bytes(blob)
            fresh.rename(path)


@asynccontextmanager
async def serving_tls(open_stores: OpenStores, files: Files, expiries: list[datetime]) -> AsyncIterator[str]:
    certificates = ReloadingCertificates(files.files, expiries.append)
    server = Server(await open_stores(), ValueRules())
    address = await server.start(ListenAddress("127.0.0.1", 0), certificates.credentials())
    try:
        yield f"localhost:{address.port}"
    finally:
        await server.stop(None)


def trusting(ca: trustme.CA, client: trustme.LeafCert | None = None) -> grpc.ChannelCredentials:
    if client is None:
        return grpc.ssl_channel_credentials(ca.cert_pem.bytes())
    chain = b"".join(pem.bytes() for pem in client.cert_chain_pems)
    return grpc.ssl_channel_credentials(ca.cert_pem.bytes(), client.private_key_pem.bytes(), chain)


async def reached(target: str, credentials: grpc.ChannelCredentials | None) -> bool:
    """Return whether a new client can call the service."""
    async with AsyncContactsClient(target, credentials=credentials, timeout=10) as sdk:
        try:
            await sdk.contact_methods.retrieve("nobody")
        except NotFoundError:
            return True
        except NetworkError:
            return False
    raise AssertionError("the record exists")


async def test_clients_need_tls_and_trust_in_the_certificate(on_embedded: OpenStores, tmp_path: Path) -> None:
    ca, stranger = trustme.CA(), trustme.CA()
    files = Files(tmp_path)
    files.write(ca)
    async with serving_tls(on_embedded, files, []) as target:
        assert await reached(target, trusting(ca))
        assert not await reached(target, trusting(stranger))
        assert not await reached(target, None)


async def test_with_a_client_ca_clients_need_a_certificate_of_it(on_embedded: OpenStores, tmp_path: Path) -> None:
    ca, clients, stranger = trustme.CA(), trustme.CA(), trustme.CA()
    files = Files(tmp_path, client_ca=clients)
    files.write(ca)
    async with serving_tls(on_embedded, files, []) as target:
        assert await reached(target, trusting(ca, clients.issue_cert("a-client")))
        assert not await reached(target, trusting(ca, stranger.issue_cert("a-client")))
        assert not await reached(target, trusting(ca))


async def test_a_rotated_certificate_is_used_at_once_and_an_invalid_one_is_not(
    on_embedded: OpenStores, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    old, new = trustme.CA(), trustme.CA()
    files, expiries = Files(tmp_path), list[datetime]()
    soon = datetime.now(UTC) + timedelta(days=3)
    files.write(old, not_after=soon)
    async with (
        serving_tls(on_embedded, files, expiries) as target,
        AsyncContactsClient(target, credentials=trusting(old)) as settled,
    ):
        finished = asyncio.Event()

        async def load() -> int:
            calls = 0
            while not finished.is_set():
                with pytest.raises(NotFoundError):
                    await settled.contact_methods.retrieve("nobody")
                calls += 1
            return calls

        with pytest.raises(NotFoundError):
            await settled.contact_methods.retrieve("nobody")
        under_load = asyncio.create_task(load())
        files.write(new)
        assert await reached(target, trusting(new))
        assert not await reached(target, trusting(old))
        files.files.certificate.write_text("no certificate")
        assert await reached(target, trusting(new))
        files.files.certificate.unlink()
        assert await reached(target, trusting(new))
        files.write(old)
        assert await reached(target, trusting(old))
        finished.set()
        assert await under_load > 0

    assert expiries[0] == soon.replace(microsecond=0)
    assert len(expiries) == 3
    messages = [record.getMessage() for record in caplog.records if record.name == "contactsvc.rpc.tls"]
    assert sum("keeping the certificate in use" in message for message in messages) == 2
    assert any("expires at" in record.getMessage() for record in caplog.records if record.levelno == logging.WARNING)


@pytest.mark.parametrize("fault", ["no certificate", "no key", "another key", "garbage", "passphrase", "empty ca"])
def test_unusable_files_are_refused_at_the_start(tmp_path: Path, fault: str) -> None:
    ca = trustme.CA()
    files = Files(tmp_path, client_ca=ca)
    files.write(ca)
    certificate, key = files.files.certificate, files.files.key
    if fault == "no certificate":
        certificate.unlink()
    elif fault == "no key":
        key.unlink()
    elif fault == "another key":
        key.write_bytes(ca.issue_cert("localhost").private_key_pem.bytes())
    elif fault == "garbage":
        certificate.write_text("garbage")
    elif fault == "passphrase":
        key.write_bytes(_encrypted(key.read_bytes()))
    else:
        (tmp_path / "ca.crt").write_text("")

    with pytest.raises(ConfigurationError) as raised:
        ReloadingCertificates(files.files, lambda _: None)

    assert str(tmp_path) in str(raised.value) or "passphrase" in str(raised.value)


def _encrypted(pem: bytes) -> bytes:
    from cryptography.hazmat.primitives import serialization

    return serialization.load_pem_private_key(pem, None).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"secret"),
    )


@pytest.mark.parametrize("name", ["tls.crt", "tls.key", "ca.crt"])
def test_an_unreadable_file_is_named_and_no_other(tmp_path: Path, name: str) -> None:
    files = Files(tmp_path, client_ca=trustme.CA())
    files.write(trustme.CA())
    (tmp_path / name).unlink()

    with pytest.raises(ConfigurationError) as raised:
        ReloadingCertificates(files.files, lambda _: None)

    assert str(raised.value) == f"cannot read {tmp_path / name}: No such file or directory"


def test_an_invalid_client_ca_is_named_and_no_other(tmp_path: Path) -> None:
    files = Files(tmp_path, client_ca=trustme.CA())
    files.write(trustme.CA())
    (tmp_path / "ca.crt").write_text("no certificate")

    with pytest.raises(ConfigurationError) as raised:
        ReloadingCertificates(files.files, lambda _: None)

    assert str(raised.value).startswith(f"{tmp_path / 'ca.crt'} has no readable PEM certificate")


def test_an_expired_certificate_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    files = Files(tmp_path)
    files.write(trustme.CA(), not_after=datetime.now(UTC) - timedelta(days=1), not_before=datetime(2020, 1, 1))

    ReloadingCertificates(files.files, lambda _: None)

    assert "expired" in caplog.text
