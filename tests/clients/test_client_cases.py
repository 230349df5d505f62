"""The Python client against the table of cases that all clients share."""

from __future__ import annotations

import asyncio
import sys
import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import grpc
import pytest
from contactsvc_client import AsyncContactsClient, ContactsError, collect_all

from tests.clients.case_table import all_cases, arguments, difference, error_outline, plain, snake_case
from tests.integration.service_process import ended, running_service

Clients = Mapping[str, AsyncContactsClient]


async def make_key(data_dir: Path, environment: str, allowed: str) -> str:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "contactsvc", "keys", "create", "--name", "cases", "--environment", environment),
        *("--allow", allowed, "--data-dir", str(data_dir)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    code, out, err = await ended(process)
    assert code == 0, err
    return out.strip()


@pytest.fixture(scope="module")
async def clients(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Clients]:
    """Run a service with API keys; yield the clients that the table names."""
    data_dir = tmp_path_factory.mktemp("cases")
    full = await make_key(data_dir, "test", "read,write,delete,erase,verify,attest")
    reader = await make_key(data_dir, "test", "read")
    verifier = await make_key(data_dir, "test", "verify")
    async with running_service(data_dir) as service, AsyncExitStack() as stack:
        stranger = grpc.aio.server()
        port = stranger.add_insecure_port("127.0.0.1:0")
        await stranger.start()
        stack.push_async_callback(stranger.stop, None)
        made = {
            "default": AsyncContactsClient(service.address, api_key=full),
            "reader": AsyncContactsClient(service.address, api_key=reader),
            "verifier": AsyncContactsClient(service.address, api_key=verifier),
            "anonymous": AsyncContactsClient(service.address),
            "wrongKey": AsyncContactsClient(service.address, api_key="wrong"),
            "otherEnvironment": AsyncContactsClient(service.address, api_key=full, environment="live"),
            "unreachable": AsyncContactsClient("127.0.0.1:1"),
            "stranger": AsyncContactsClient(f"127.0.0.1:{port}"),
        }
        for client in made.values():
            await stack.enter_async_context(client)
        yield made


async def outcome_of(client: AsyncContactsClient, method: str, named: dict[str, Any]) -> Any:
    if "timeout_ms" in named:
        named["timeout"] = named.pop("timeout_ms") / 1000
    called = getattr(client.contact_methods, snake_case(method))
    if method == "iterate":
        return await collect_all(called(**named))
    return await called(**named)


@pytest.mark.parametrize("case", all_cases(), ids=lambda case: case["name"])
async def test_case(case: dict[str, Any], clients: Clients) -> None:
    case_id = f"case_{uuid.uuid4().hex}"
    outcomes: dict[str, Any] = {}
    for number, step in enumerate(case["steps"]):
        client, named = clients[step.get("on", "default")], arguments(step["with"], case_id, outcomes)
        call = outcome_of(client, step["call"], named)
        if "error" in step:
            with pytest.raises(ContactsError) as raised:
                await call
            assert difference(step["error"], error_outline(raised.value), case_id, outcomes) is None, f"step {number}"
            continue
        actual = plain(await call)
        if "expect" in step:
            assert difference(step["expect"], actual, case_id, outcomes) is None, f"step {number}"
        if "as" in step:
            outcomes[step["as"]] = actual
