"""Arguments of the clients themselves: target, API key, environment, TLS, timeout, retries, environment variables."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import grpc
import pytest
import trustme
from contactsvc_client import AsyncContactsClient, ContactsClient, NotFoundError, ValidationError

from contactsvc.config import ListenAddress
from contactsvc.domain.normalization import ValueRules
from contactsvc.runtime.server import Server
from tests.conftest import OpenStores
from tests.unit.fake_service import faked

# Where nothing listens. A client connects at its first call, not before.
NOWHERE = "127.0.0.1:1"


@pytest.mark.parametrize(
    "target",
    ["localhost:50051", "[::1]:50051", "contacts.internal.example:443", "dns:///contacts:50051", "unix:/run/contacts"],
)
def test_a_target_is_a_host_and_a_port_or_a_name_for_the_resolvers_of_grpc(target: str) -> None:
    assert target in repr(ContactsClient(target))


@pytest.mark.parametrize(
    ("target", "hint"),
    [
        ("", "is required"),
        ("localhost", "such as localhost:50051"),
        ("[::1]", r"such as \[::1\]:50051"),
        ("::1:50051", r"such as localhost:50051 or \[::1\]:50051"),
        ("localhost:", "HOST:PORT"),
        ("localhost:grpc", "HOST:PORT"),
        ("localhost:0", "HOST:PORT"),
        ("localhost:65536", "HOST:PORT"),
        ("local host:50051", "HOST:PORT"),
        ("http://localhost:50051", "without a scheme"),
        ("https://contacts.example", "tls=True"),
        ("grpc://localhost:50051", "without a scheme"),
        (50051, "is required"),
    ],
)
@pytest.mark.parametrize("kind", [AsyncContactsClient, ContactsClient])
def test_a_wrong_target_is_refused_with_the_remedy(kind: Any, target: Any, hint: str) -> None:
    with pytest.raises(ValidationError, match=hint) as raised:
        kind(target)

    assert [issue.field for issue in raised.value.issues] == ["target"]


@pytest.mark.parametrize(
    ("arguments", "at_fault"),
    [
        ({"api_key": "clé"}, "api_key"),
        ({"api_key": ""}, "api_key"),
        ({"environment": "prod"}, "environment"),
        ({"timeout": 0}, "timeout"),
        ({"timeout": float("inf")}, "timeout"),
        ({"timeout": "10"}, "timeout"),
        ({"max_retries": -1}, "max_retries"),
        ({"max_retries": 1.5}, "max_retries"),
        ({"tls": "yes"}, "tls"),
        ({"tls": {"ca_file": "ca.crt"}}, "tls.ca_file"),
        ({"tls": {"ca": "ca.crt"}}, "tls.ca"),
        ({"tls": {"ca": Path("/nowhere/ca.crt")}}, "tls.ca"),
        ({"tls": {"cert": "-----BEGIN CERTIFICATE-----"}}, "tls"),
        ({"tls": True, "credentials": grpc.ssl_channel_credentials()}, "credentials"),
    ],
)
def test_other_wrong_arguments_are_named(arguments: dict[str, Any], at_fault: str) -> None:
    with pytest.raises(ValidationError) as raised:
        ContactsClient(NOWHERE, **arguments)

    assert [issue.field for issue in raised.value.issues] == [at_fault]


async def test_the_timeout_of_a_call_is_checked() -> None:
    async with AsyncContactsClient(NOWHERE) as sdk:
        with pytest.raises(ValidationError, match="timeout"):
            await sdk.contact_methods.retrieve("x", timeout=-1)


async def test_target_and_key_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    async with faked() as (service, target):
        monkeypatch.setenv("CONTACTSVC_TARGET", target)
        monkeypatch.setenv("CONTACTSVC_API_KEY", "from-variable")
        async with AsyncContactsClient() as sdk:
            await sdk.contact_methods.retrieve("x")
        async with AsyncContactsClient(api_key="from-argument") as sdk:
            await sdk.contact_methods.retrieve("x")
        async with AsyncContactsClient(api_key=None) as sdk:
            await sdk.contact_methods.retrieve("x")
        monkeypatch.setenv("CONTACTSVC_API_KEY", "")
        async with AsyncContactsClient() as sdk:
            await sdk.contact_methods.retrieve("x")

        sent = [metadata.get("authorization") for _, metadata in service.seen]
    assert sent == ["Bearer from-variable", "Bearer from-argument", None, None]


def test_without_a_target_the_message_names_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CONTACTSVC_TARGET", raising=False)

    with pytest.raises(ValidationError, match="CONTACTSVC_TARGET"):
        ContactsClient()


async def test_tls_takes_text_and_files(on_embedded: OpenStores, tmp_path: Path) -> None:
    ca, clients = trustme.CA(), trustme.CA()
    served, mine = ca.issue_cert("localhost"), clients.issue_cert("a-client")
    ca_file, key_file = tmp_path / "ca.crt", tmp_path / "client.key"
    ca.cert_pem.write_to_path(ca_file)
    mine.private_key_pem.write_to_path(key_file)
    credentials = grpc.ssl_server_credentials(
        [(served.private_key_pem.bytes(), served.cert_chain_pems[0].bytes())],
        clients.cert_pem.bytes(),
        require_client_auth=True,
    )
    server = Server(await on_embedded(), ValueRules())
    address = await server.start(ListenAddress("127.0.0.1", 0), credentials)
    try:
        async with AsyncContactsClient(
            f"localhost:{address.port}",
            tls={"ca": ca_file, "cert": mine.cert_chain_pems[0].bytes().decode(), "key": key_file},
        ) as sdk:
            with pytest.raises(NotFoundError):
                await sdk.contact_methods.retrieve("nobody")
    finally:
        await server.stop(None)
