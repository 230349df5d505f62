"""docs/browsers.md: its commands print what it shows, and Envoy takes its settings for TLS."""

from __future__ import annotations

import asyncio
import http.client
import re
import shutil
import ssl
from pathlib import Path
from typing import Any

import pytest
import trustme
import yaml

from contactsvc.config import ListenAddress
from contactsvc.domain.normalization import ValueRules
from contactsvc.rpc.tls import ReloadingCertificates, TlsFiles
from contactsvc.runtime.server import Server
from tests.conftest import Api, OpenStores
from tests.integration.envoy_process import needs_envoy, running_envoy

PAGE = (Path(__file__).parents[2] / "docs" / "browsers.md").read_text()
# What differs from run to run.
VOLATILE = (
    (r"contact_[0-9a-z]{26}", "contact_ID"),
    (r"\d{4}-\d\d-\d\dT[\d:.]+Z", "TIME"),
    (r'"etag":"[0-9a-f]+"', '"etag":"ETAG"'),
)

pytestmark = needs_envoy


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def masked(text: str) -> str:
    for pattern, name in VOLATILE:
        text = re.sub(pattern, name, text)
    return text.strip()


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
async def test_the_commands_print_what_the_page_shows(embedded_api: Api, tmp_path: Path) -> None:
    (text,) = blocks("console")
    commands = re.findall(r"^\$ ((?:.*\\\n)*.*)\n((?:(?!\$ ).*\n)*)", text, re.MULTILINE)
    async with running_envoy(embedded_api.target, tmp_path) as envoy:
        for command, expected in commands:
            process = await asyncio.create_subprocess_shell(
                command.replace("localhost:8080", envoy.address),
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
            )
            output, _ = await process.communicate()
            assert masked(output.decode()) == masked(expected), command

    assert len(commands) > 2


async def test_envoy_listens_and_connects_with_tls(on_embedded: OpenStores, tmp_path: Path) -> None:
    downstream, upstream = (yaml.safe_load(block)["transport_socket"] for block in blocks("yaml"))
    name = upstream["typed_config"]["sni"]
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.crt")
    # One certificate for both: of Envoy on loopback, and of the service by its name.
    certificate = authority.issue_cert("127.0.0.1", name)
    files = TlsFiles(tmp_path / "tls.crt", tmp_path / "tls.key")
    files.key.write_bytes(certificate.private_key_pem.bytes())
    files.certificate.write_bytes(b"".join(pem.bytes() for pem in certificate.cert_chain_pems))
    server = Server(await on_embedded(), ValueRules())
    credentials = ReloadingCertificates(files, lambda expiry: None).credentials()
    address = await server.start(ListenAddress("127.0.0.1", 0), credentials)
    trusting = ssl.create_default_context(cafile=str(tmp_path / "ca.crt"))

    def with_tls(configuration: dict[str, Any]) -> None:
        resources = configuration["static_resources"]
        resources["listeners"][0]["filter_chains"][0]["transport_socket"] = downstream
        resources["clusters"][0]["transport_socket"] = upstream

    def missing_record(target: str) -> int:
        connection = http.client.HTTPSConnection(target, context=trusting)
        connection.request("GET", "/v1/contact-methods/contact_missing")
        response = connection.getresponse()
        assert b"CONTACT_METHOD_NOT_FOUND" in response.read()
        connection.close()
        return response.status

    try:
        async with running_envoy(str(address), tmp_path, with_tls) as envoy:
            assert await asyncio.to_thread(missing_record, envoy.address) == 404
    finally:
        await server.stop(None)
