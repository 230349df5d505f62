"""Stops of a service, while calls are in progress and while the database hangs."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import uuid
from pathlib import Path

import pytest
from contactsvc_client import AsyncContactsClient, NetworkError, NewContactMethod
from contactsvc_client import TimeoutError as SdkTimeoutError

from tests.integration.service_process import running_service
from tests.operations.test_commands import as_process


async def test_a_second_signal_stops_a_drain_at_once(tmp_path: Path, embedded_uri: str) -> None:
    database = ("--mongodb-uri", embedded_uri, "--database", f"test_{uuid.uuid4().hex[:12]}")
    async with running_service(tmp_path, *database, "--drain-wait", "3600") as service:
        service.process.send_signal(signal.SIGTERM)
        assert service.process.stderr is not None
        line = ""
        while "health reports NOT_SERVING" not in line:
            line = (await service.process.stderr.readline()).decode()
        ready, alive = await asyncio.gather(
            as_process("probe", "--target", service.address),
            as_process("probe", "--target", service.address, "--service", "liveness"),
        )
        code, _, err = await service.stopped()

    assert ready == (1, "", f"contactsvc: {service.address} reports NOT_SERVING for the server\n")
    assert alive == (0, "SERVING\n", "")
    assert code == 0
    assert "second signal" in err


async def test_a_stop_amid_writes_loses_nothing_acknowledged_and_halves_no_batch(tmp_path: Path) -> None:
    acknowledged: list[str] = []
    # Without retries, so that every response is the service's own.
    once = [("grpc.enable_retries", 0)]
    async with (
        running_service(tmp_path) as service,
        AsyncContactsClient(service.address, channel_options=once) as sdk,
    ):
        halfway = asyncio.Event()

        async def create(number: int) -> None:
            try:
                if number % 10:
                    made = [await sdk.contact_methods.create(client_id="c", type="other", value=f"{number}")]
                else:
                    items: list[NewContactMethod] = [
                        {"client_id": f"b{number}", "type": "other", "value": f"{i}"} for i in range(20)
                    ]
                    made = (await sdk.contact_methods.create_many(items)).data
            except NetworkError:
                return
            acknowledged.extend(record.id for record in made)
            if len(acknowledged) > 100:
                halfway.set()

        calls = [asyncio.create_task(create(number)) for number in range(200)]
        await halfway.wait()
        code, _, _ = await service.stopped()
        await asyncio.gather(*calls)
    async with running_service(tmp_path) as service, AsyncContactsClient(service.address) as sdk:
        found = [record async for record in sdk.contact_methods.iterate()]

    assert code == 0
    assert len(acknowledged) > 100
    assert set(acknowledged) <= {record.id for record in found}
    batches: dict[str, int] = {}
    for record in found:
        batches[record.client_id] = batches.get(record.client_id, 0) + 1
    batches.pop("c", None)
    assert set(batches.values()) <= {20}


async def test_a_stop_ends_although_the_database_hangs(tmp_path: Path) -> None:
    # At the same time, since each waits for grace periods and for its database.
    async with asyncio.TaskGroup() as both:
        for signals in (1, 2):
            both.create_task(stop_while_the_database_hangs(tmp_path / f"{signals}", signals))


async def stop_while_the_database_hangs(data_dir: Path, signals: int) -> None:
    async with running_service(data_dir, "--drain-grace", "1") as service:
        database = embedded_database_of(service.process.pid)
        async with AsyncContactsClient(service.address, timeout=0.2) as sdk:

            async def create(number: int) -> None:
                with pytest.raises(SdkTimeoutError):
                    await sdk.contact_methods.create(client_id="c", type="other", value=f"{number}")

            await sdk.contact_methods.create(client_id="c", type="other", value="before", timeout=10)
            os.kill(database, signal.SIGSTOP)
            try:
                await asyncio.gather(*map(create, range(20)))
                if signals == 2:
                    service.process.send_signal(signal.SIGTERM)
                code, _, err = await service.stopped()
            finally:
                os.kill(database, signal.SIGCONT)

    assert code == 1
    assert re.search(r"^contactsvc: stopped while \d+ writes? ha(ve|s) not ended", err, re.MULTILINE)
    # The database stops by itself, even if it has to abandon its work.
    async with asyncio.timeout(60):
        while Path(f"/proc/{database}").exists():  # noqa: ASYNC110, ASYNC240 - the kernel sends no event
            await asyncio.sleep(0.1)


def embedded_database_of(pid: int) -> int:
    """Return the process id of the embedded database of a service."""
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(path.read_text().rpartition(")")[2].split()[1])
            command = path.with_name("cmdline").read_text()
        except OSError:
            continue
        if parent == pid and "contactsvc.runtime.embedded" in command:
            return int(path.parent.name)
    raise AssertionError("there is no embedded database")
