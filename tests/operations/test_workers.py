"""Several workers on one port that serve as one service."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import suppress

import pytest
from contactsvc_client import AsyncContactsClient, ConflictError

from contactsvc.config import ListenAddress
from contactsvc.errors import StartupError
from contactsvc.runtime import port
from contactsvc.runtime.worker_protocol import read_message
from tests.integration.service_process import ended, launch
from tests.operations.workers import (
    TIMEOUT_SECONDS,
    Service,
    children_of,
    clients,
    commands,
    linux_only,
    on_database,
    refused,
    running_pool,
    two_workers,
    until,
)

pytestmark = linux_only


@pytest.fixture(scope="module")
async def service(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Service]:
    """Run one service for the tests that leave it as it is, and stop it cleanly."""
    directory = tmp_path_factory.mktemp("workers")
    async with two_workers(directory, "--admin-listen", "127.0.0.1:0", "--log-format", "json") as running:
        yield running
        assert await running.stopped() == 0


async def test_calls_reach_both_workers_and_one_endpoint_shows_the_metrics_of_both(service: Service) -> None:
    before = await service.metrics()
    logged = len(service.log)
    async with clients(service.address, 24) as sdks:
        for sdk in sdks:
            await sdk.contact_methods.list(limit=1, filter={"client_id": "everywhere"})
    metrics = await service.metrics()

    handled = [
        metrics["grpc_server_handled_total", worker] - before.get(("grpc_server_handled_total", worker), 0)
        for worker in ("0", "1")
    ]
    assert sum(handled) == 24
    assert all(handled)
    assert metrics["contactsvc_database_up", "0"] == metrics["contactsvc_database_up", "1"] == 1
    assert metrics["contactsvc_workers", "serving"] == 2
    assert metrics["contactsvc_workers", "starting"] == metrics["contactsvc_workers", "waiting"] == 0
    assert metrics["contactsvc_worker_restarts_total", "0"] == 0
    assert all(metrics["process_resident_memory_bytes", worker] > 0 for worker in ("0", "1"))

    def logged_by(worker: int) -> int:
        calls = (json.loads(line) for line in service.log[logged:])
        return sum(line.get("method") == "ListContactMethods" and line["worker"] == worker for line in calls)

    # Lines of calls are buffered for a moment.
    await until(lambda: [logged_by(0), logged_by(1)] == handled)


async def test_promotions_of_one_slot_by_two_workers_leave_one_primary_and_never_none(service: Service) -> None:
    async with clients(service.address) as sdks:
        create = sdks[0].contact_methods.create
        records = [
            await create(client_id="c", type="email", value=f"a{number}@example.com", is_primary=number == 0)
            for number in range(8)
        ]
        finished = False

        async def promote(sdk: AsyncContactsClient, number: int) -> None:
            # A caller that loses too many races is asked to try again.
            with suppress(ConflictError):
                await sdk.contact_methods.update(records[number % 8].id, is_primary=True, timeout=TIMEOUT_SECONDS)

        async def watch(sdk: AsyncContactsClient) -> int:
            looks = 0
            while not finished:
                assert await sdk.contact_methods.get_primary("c", "email") is not None
                looks += 1
            return looks

        watcher = asyncio.create_task(watch(sdks[-1]))
        await asyncio.gather(*(promote(sdk, number) for number in range(6) for sdk in sdks))
        finished = True
        assert await watcher > 0
        primaries = await sdks[0].contact_methods.list(filter={"client_id": "c", "is_primary": True})

    assert len(primaries.data) == 1


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_a_second_service_on_the_port_is_refused(service: Service, embedded_uri: str, workers: str) -> None:
    flags = (*on_database(embedded_uri), "--listen", service.address, "--workers", workers)
    code, output, log = await refused(*flags)

    assert (code, output) == (1, "")
    assert f"contactsvc: cannot listen on {service.address}" in log


@pytest.mark.parametrize("host", ["localhost", "::", "0.0.0.0"])  # noqa: S104
async def test_workers_share_every_kind_of_address(embedded_uri: str, host: str) -> None:
    exposed = {"dangerously_serve_without_tls": "true", "dangerously_serve_without_keys": "true"}
    async with running_pool(embedded_uri, exposed, host=host) as running:
        await running.serve()
        port_number = int(running.address.rpartition(":")[2])
        async with clients(f"127.0.0.1:{port_number}") as sdks:
            for sdk in sdks:
                await sdk.contact_methods.list(limit=1)

        with pytest.raises(StartupError, match="cannot listen"):
            async with port.held(ListenAddress("127.0.0.1", port_number), release_timeout=0):
                pass
        running.pool.stop(1)
        await running.pool.end(TIMEOUT_SECONDS)

    assert running.pool.unclean == []


async def test_a_stranger_who_would_share_the_port_keeps_the_service_from_it() -> None:
    with socket.socket() as stranger:
        stranger.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        stranger.bind(("127.0.0.1", 0))
        stranger.listen()
        with pytest.raises(StartupError, match="cannot listen"):
            async with port.held(ListenAddress("127.0.0.1", stranger.getsockname()[1]), release_timeout=0):
                pass


async def test_errors_that_keep_one_process_from_starting_keep_workers_as_well(embedded_uri: str) -> None:
    uri = "mongodb://user:hunter2@127.0.0.1:1/?serverSelectionTimeoutMS=100"
    open_flags = ("--listen", "0.0.0.0:0", "--dangerously-serve-without-tls")
    gone, no_keys = await asyncio.gather(
        refused("--workers", "2", CONTACTSVC_MONGODB_URI=uri),
        refused("--workers", "2", *on_database(embedded_uri), *open_flags),
    )

    assert (gone[0], gone[1]) == (1, "")
    assert gone[2].splitlines() == [
        "contactsvc: the database does not answer; check that it runs and that mongodb_uri names it"
    ]
    assert (no_keys[0], no_keys[1]) == (2, "")
    assert no_keys[2].splitlines()[-1].startswith("contactsvc: --listen 0.0.0.0:")
    assert no_keys[2].count("contactsvc: --listen") == 1


async def test_no_password_shows_in_the_list_of_processes() -> None:
    uri = "mongodb://user:hunter2@127.0.0.1:1/?serverSelectionTimeoutMS=60000"
    process = await launch("--workers", "2", CONTACTSVC_MONGODB_URI=uri)
    await until(lambda: len(children_of(process.pid, "worker")) == 2)
    shown = [commands(pid) for pid in children_of(process.pid, "worker")]
    process.send_signal(signal.SIGTERM)
    code, output, _ = await ended(process)

    assert (code, output) == (0, "")
    assert len(shown) == 2
    assert "hunter2" not in str(shown)


async def test_a_worker_cannot_be_started_by_hand() -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "contactsvc", "worker"),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    code, output, errors = await ended(process)

    assert (code, output) == (2, "")
    assert "only `contactsvc serve` starts workers" in errors


async def test_a_message_cut_off_by_the_end_of_its_sender_is_ignored() -> None:
    reader = asyncio.StreamReader()
    reader.feed_data(b'{"serving": true}\n{"answer": 1, "fami')
    reader.feed_eof()

    assert [await read_message(reader), await read_message(reader)] == [{"serving": True}, None]
