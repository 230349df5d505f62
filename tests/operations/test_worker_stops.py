"""Stops of a service of several workers, and of one of its workers."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path

import pytest
from contactsvc_client import AsyncContactsClient
from contactsvc_client import TimeoutError as SdkTimeoutError

from tests.operations.workers import (
    OWN_CONNECTION,
    TIMEOUT_SECONDS,
    Writers,
    alive,
    clients,
    database_of,
    linux_only,
    on_database,
    running_pool,
    two_workers,
    until,
)

pytestmark = linux_only


async def test_a_stop_under_load_fails_no_call(embedded_uri: str, tmp_path: Path) -> None:
    once = [*OWN_CONNECTION, ("grpc.enable_retries", 0)]
    async with (
        two_workers(tmp_path, "--drain-wait", "5", *on_database(embedded_uri)) as service,
        clients(service.address, channel_options=once) as sdks,
    ):
        workers = service.workers
        writers = Writers(sdks)
        await writers.have_written(50)
        service.process.send_signal(signal.SIGTERM)
        await service.logs("health reports NOT_SERVING")
        await writers.have_written(50)
        await writers.stop()
        code = await service.code()

    assert code == 0
    assert len(writers.acknowledged) >= 100
    assert not any(map(alive, workers))
    assert [sum(f"stopped worker={worker}" in line for line in service.log) for worker in (0, 1)] == [1, 1]
    assert "contactsvc.runtime.supervisor: stopped" in service.log[-1]


async def test_a_second_signal_stops_all_at_once(embedded_uri: str, tmp_path: Path) -> None:
    async with two_workers(tmp_path, "--drain-wait", "3600", *on_database(embedded_uri)) as service:
        service.process.send_signal(signal.SIGTERM)
        await service.logs("worker=0")
        await service.logs("health reports NOT_SERVING")
        code = await service.stopped()

    assert code == 0
    assert any("contactsvc.runtime.supervisor: second signal" in line for line in service.log)
    # The workers themselves received no signal.
    assert not any("contactsvc.runtime.serving: second signal" in line for line in service.log)
    assert sum("contactsvc.runtime.serving: request of the supervisor" in line for line in service.log) == 2


async def test_unfinished_writes_of_a_worker_are_reported_and_the_stop_is_not_clean(tmp_path: Path) -> None:
    async with two_workers(tmp_path, "--drain-grace", "0.1") as service:
        database = database_of(service)
        async with AsyncContactsClient(service.address, timeout=0.2) as sdk:
            await sdk.contact_methods.create(client_id="c", type="other", value="before", timeout=10)
            os.kill(database, signal.SIGSTOP)
            try:
                with pytest.raises(SdkTimeoutError):
                    await sdk.contact_methods.create(client_id="c", type="other", value="left")
                service.process.send_signal(signal.SIGTERM)
                await service.logs("write has not ended")
            finally:
                os.kill(database, signal.SIGCONT)
        code = await service.code()

    assert code == 1
    assert re.search(r"^contactsvc: worker [01] stopped while 1 write has not ended", service.log[-1])


async def test_a_worker_that_an_operator_stops_drains_and_another_one_takes_its_place(
    embedded_uri: str, tmp_path: Path
) -> None:
    async with two_workers(tmp_path, *on_database(embedded_uri)) as service, clients(service.address) as sdks:
        before = service.workers
        writers = Writers(sdks)
        await writers.have_written(20)
        os.kill(min(before), signal.SIGTERM)
        await service.logs("was stopped; restarting it in")
        await until(lambda: len(service.workers) == 2)
        await writers.have_written(20)
        await writers.stop()
        after = service.workers
        code = await service.stopped()

    assert code == 0
    assert before - after == {min(before)}


async def test_workers_that_are_stopped_as_they_are_started_end(embedded_uri: str) -> None:
    async with running_pool(embedded_uri) as running:
        # Before the first process exists.
        running.pool.stop(1)
        await running.pool.end(TIMEOUT_SECONDS)

    assert running.pool.unclean == []


async def test_a_worker_that_ends_before_it_has_served_leaves_a_stop_clean(
    embedded_uri: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with running_pool(embedded_uri) as running:
        first, _ = running.pool.workers
        await until(lambda: first.pid is not None)
        assert first.pid is not None
        os.kill(first.pid, signal.SIGSTOP)
        running.pool.stop(1)
        os.kill(first.pid, signal.SIGKILL)
        await running.pool.end(TIMEOUT_SECONDS)

    assert running.pool.unclean == []
    assert "worker 0 ended by signal SIGKILL" in caplog.text


async def test_workers_that_have_not_begun_stop_at_once(embedded_uri: str) -> None:
    async with running_pool(embedded_uri) as running:
        first, second = running.pool.workers
        # Worker 1 waits for worker 0, which is held up.
        await until(lambda: second.state == "waiting")
        assert first.pid is not None
        os.kill(first.pid, signal.SIGSTOP)
        running.pool.stop(2)
        await until(lambda: second.number in running.pool.ended)

        assert running.pool.ended == {second.number}
