"""Deaths and hangs of workers, of their supervisor and of their database."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
import trustme
from contactsvc_client import AsyncContactsClient

from contactsvc.errors import ConfigurationError
from contactsvc.runtime.worker_process import RestartPolicy
from tests.operations.workers import (
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

# Restarts at once, and gives up early.
IMPATIENT = RestartPolicy(first_pause=0.01, max_pause=0.01, max_failures=2)


async def test_the_death_of_a_worker_under_load_fails_no_call(embedded_uri: str, tmp_path: Path) -> None:
    async with (
        two_workers(tmp_path, "--admin-listen", "127.0.0.1:0", *on_database(embedded_uri)) as service,
        clients(service.address) as sdks,
    ):
        before = service.workers
        writers = Writers(sdks)
        await writers.have_written(50)
        os.kill(min(before), signal.SIGKILL)
        await writers.have_written(50)
        await service.logs("ended by signal SIGKILL; see the log above; restarting it in")
        await until(lambda: len(service.workers) == 2)
        while (await service.metrics())["contactsvc_workers", "serving"] < 2:
            pass
        await writers.have_written(50)
        await writers.stop()
        found = [record.id async for record in sdks[0].contact_methods.iterate()]
        metrics = await service.metrics()
        after = service.workers
        code = await service.stopped()

    assert code == 0
    assert sorted(found) == sorted(writers.acknowledged)
    assert len(before) == len(after) == 2
    assert len(before & after) == 1
    assert metrics["contactsvc_worker_restarts_total", "0"] + metrics["contactsvc_worker_restarts_total", "1"] == 1


async def test_the_death_of_the_supervisor_leaves_no_orphan_and_a_restart_works_at_once(tmp_path: Path) -> None:
    async with two_workers(tmp_path, "--drain-wait", "3600") as service:
        address = service.address
        async with AsyncContactsClient(address) as sdk:
            made = await sdk.contact_methods.create(client_id="c", type="other", value="kept")
        family = {*service.workers, database_of(service)}
        assert len(family) == 3
        service.process.kill()
        async with two_workers(tmp_path, "--listen", address) as second, AsyncContactsClient(second.address) as sdk:
            assert second.address == address
            assert (await sdk.contact_methods.retrieve(made.id)).value == "kept"
            await until(lambda: not any(map(alive, family)))
            # They noticed the end of the connection; they received no signal.
            assert any("the supervisor has exited" in line for line in service.log)


async def test_the_death_of_the_embedded_database_ends_the_service(tmp_path: Path) -> None:
    async with two_workers(tmp_path) as service:
        workers = service.workers
        os.kill(database_of(service), signal.SIGKILL)
        code = await service.code()

    assert code == 1
    assert "contactsvc: the embedded database ended by signal SIGKILL" in service.log[-1]
    assert not any(map(alive, workers))


def tls_flags(folder: Path) -> tuple[Path, trustme.LeafCert, dict[str, str]]:
    """Return the path of a certificate, the certificate, and the flags that serve it."""
    key, certificate = folder / "tls.key", folder / "tls.crt"
    made = trustme.CA().issue_cert("localhost")
    made.private_key_pem.write_to_path(key)
    made.cert_chain_pems[0].write_to_path(certificate)
    return certificate, made, {"tls_cert": str(certificate), "tls_key": str(key)}


async def test_workers_that_keep_failing_end_the_service_with_the_reason(embedded_uri: str, tmp_path: Path) -> None:
    certificate, _, flags = tls_flags(tmp_path)
    async with running_pool(embedded_uri, flags, policy=IMPATIENT) as running:
        await running.serve()
        certificate.write_text("no certificate")
        for worker in running.processes:
            os.kill(worker, signal.SIGKILL)
        why = await running.given_up

    assert isinstance(why, ConfigurationError)
    assert str(certificate) in str(why)


async def test_while_one_worker_serves_the_service_goes_on(embedded_uri: str, tmp_path: Path) -> None:
    certificate, made, flags = tls_flags(tmp_path)
    async with running_pool(embedded_uri, flags, policy=IMPATIENT) as running:
        await running.serve()
        certificate.write_text("no certificate")
        dead, living = running.pool.workers
        survivor = living.pid
        assert dead.pid is not None
        os.kill(dead.pid, signal.SIGKILL)
        await until(lambda: dead.failures > IMPATIENT.max_failures)
        assert not running.given_up.done()
        assert (living.state, living.pid) == ("serving", survivor)
        made.cert_chain_pems[0].write_to_path(certificate)
        await until(lambda: dead.state == "serving")
        running.pool.stop(1)
        await running.pool.end(TIMEOUT_SECONDS)

    assert running.pool.unclean == []


async def test_a_worker_that_hangs_is_killed_and_another_one_takes_its_place(
    embedded_uri: str, caplog: pytest.LogCaptureFixture
) -> None:
    policy = RestartPolicy(first_pause=0.01, check_interval=0.1, hang_timeout=1)
    async with running_pool(embedded_uri, policy=policy) as running:
        await running.serve()
        workers = running.pool.workers
        before = running.processes
        os.kill(min(before), signal.SIGSTOP)
        await until(lambda: sum(worker.restarts for worker in workers) == 1)
        await until(lambda: all(worker.state == "serving" for worker in workers))
        after = running.processes
        async with AsyncContactsClient(running.address) as sdk:
            await sdk.contact_methods.list(limit=1)
        running.pool.stop(1)
        await running.pool.end(TIMEOUT_SECONDS)

    assert before - after == {min(before)}
    assert "has not responded for 1 s: killing it" in caplog.text
    assert not running.given_up.done()
    assert not any(map(alive, after))
