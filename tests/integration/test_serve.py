"""`contactsvc serve` in one process, on the embedded database."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

import pytest
from contactsvc_client import AsyncContactsClient, ContactsError

from contactsvc import store
from contactsvc.store import COLLECTION
from tests.integration.service_process import ended, launch, running_service
from tests.integration.stored import PERSONAL, document

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


def children_of(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def resident_mib(pid: int) -> float:
    status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return int(status["VmRSS"].split()[0]) / 1024


async def create(address: str, value: str) -> str:
    async with AsyncContactsClient(address) as sdk:
        return (await sdk.contact_methods.create(client_id="c1", type="email", value=value)).id


async def retrieve(address: str, id_: str) -> str:
    async with AsyncContactsClient(address) as sdk:
        return (await sdk.contact_methods.retrieve(id_)).value


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_data_survives_a_restart(tmp_path: Path, number: signal.Signals) -> None:
    async with running_service(tmp_path) as service:
        id_ = await create(service.address, "juan@example.com")
        code, rest_of_output, log = await service.stopped(number)

    assert (code, rest_of_output) == (0, "")
    assert str(tmp_path) in log
    assert "juan" not in log
    async with running_service(tmp_path) as service:
        assert await retrieve(service.address, id_) == "juan@example.com"


async def test_an_unknown_variable_is_logged_at_the_start(tmp_path: Path) -> None:
    # Without its certificate the service does not start.
    missing = str(tmp_path / "tls.pem")
    process = await launch(
        *("--tls-cert", missing, "--tls-key", missing, "--log-format", "json"), CONTACTSVC_LOG_LEVL="debug"
    )

    _, _, log = await ended(process)

    line = json.loads(log.splitlines()[0])
    assert line["level"] == "warning"
    assert line["message"] == "unknown environment variable CONTACTSVC_LOG_LEVL; did you mean CONTACTSVC_LOG_LEVEL?"


async def test_acknowledged_writes_survive_a_kill_of_the_service(tmp_path: Path) -> None:
    async with running_service(tmp_path) as service:
        id_ = await create(service.address, "juan@example.com")
        await service.stopped(signal.SIGKILL)

    async with running_service(tmp_path) as service:
        assert await retrieve(service.address, id_) == "juan@example.com"


@linux_only
async def test_the_death_of_the_embedded_database_ends_the_service_and_keeps_the_data(tmp_path: Path) -> None:
    async with running_service(tmp_path) as service:
        id_ = await create(service.address, "juan@example.com")
        (database,) = children_of(service.process.pid)
        os.kill(database, signal.SIGKILL)
        code, _, log = await ended(service.process)

    assert code == 1
    assert "contactsvc: the embedded database ended by signal SIGKILL" in log
    async with running_service(tmp_path) as service:
        assert await retrieve(service.address, id_) == "juan@example.com"


async def test_a_second_service_on_the_same_directory_is_refused(tmp_path: Path) -> None:
    async with running_service(tmp_path):
        code, output, log = await ended(await launch("--data-dir", str(tmp_path)))

    assert (code, output) == (1, "")
    assert f"{tmp_path} is in use by another contactsvc" in log


async def test_a_second_service_on_the_same_port_is_refused(tmp_path: Path) -> None:
    async with running_service(tmp_path / "a") as service:
        second = await launch("--data-dir", str(tmp_path / "b"), "--listen", service.address)
        code, output, log = await ended(second)

    assert (code, output) == (1, "")
    assert f"contactsvc: cannot listen on {service.address}" in log


async def test_bad_settings_are_reported_all_at_once() -> None:
    process = await launch("--listen", "nowhere", "--driver", "odbc", CONTACTSVC_LOG_LEVEL="loud")
    code, _, log = await ended(process)

    assert code == 2
    assert len(log.splitlines()) == 1
    for setting in ("--listen", "--driver", "CONTACTSVC_LOG_LEVEL"):
        assert setting in log


@pytest.mark.parametrize(
    ("uri", "exit_code", "said"),
    [
        pytest.param(
            "mongodb://user:hunter2@127.0.0.1:1/?serverSelectionTimeoutMS=100",
            1,
            "the database does not answer",
            id="nothing listens",
        ),
        pytest.param(
            "mongodb://user:hunter2@127.0.0.1:1/?tls=true&tlsCAFile=/nowhere/ca.crt",
            2,
            "a file that mongodb_uri names cannot be used",
            id="an unreadable file",
        ),
        # Reserved: never resolves (RFC 6761), with or without a resolver.
        pytest.param(
            "mongodb+srv://user:hunter2@database.invalid/",
            1,
            "DNS has no MongoDB hosts for the mongodb+srv:// name",
            id="a name that does not resolve",
        ),
    ],
)
async def test_a_database_that_cannot_be_reached_is_reported_without_its_password(
    uri: str, exit_code: int, said: str
) -> None:
    code, output, log = await ended(await launch(CONTACTSVC_MONGODB_URI=uri))

    assert (code, output) == (exit_code, "")
    assert f"contactsvc: {said}" in log
    assert "hunter2" not in log


async def test_a_log_of_the_embedded_database_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "database.log").mkdir()

    code, _, log = await ended(await launch("--data-dir", str(tmp_path)))

    assert code == 1
    assert f"contactsvc: cannot write the log of the embedded database, {tmp_path / 'database.log'}" in log


async def test_a_service_without_keys_warns_with_its_address(tmp_path: Path) -> None:
    async with running_service(tmp_path) as service:
        _, _, log = await service.stopped()

    assert f"everyone who reaches {service.address} is let in" in log


@linux_only
async def test_an_idle_service_takes_less_than_90_mib(tmp_path: Path) -> None:
    async with running_service(tmp_path) as service:
        await create(service.address, "juan@example.com")

        assert resident_mib(service.process.pid) < 90


@pytest.mark.parametrize("log_format", ["text", "json"])
async def test_a_document_that_cannot_be_read_is_named_in_the_log(tmp_path: Path, log_format: str) -> None:
    async with running_service(tmp_path, "--log-format", log_format) as service:
        ours = await create(service.address, f"{PERSONAL}@example.com")
        # A document written by hand can have an address as its id.
        theirs = f"{PERSONAL}@example.com"
        deployment = await store.connect((tmp_path / "database.uri").read_text(), "pymongo")
        try:
            collection = deployment.driver.database("contactsvc_live")[COLLECTION]
            await collection.update_one({"_id": ours}, {"$set": {"metadata": [PERSONAL]}})
            await collection.insert_one({**document(theirs), "label": 5})
        finally:
            await deployment.close()
        for id_ in (ours, theirs):
            with pytest.raises(ContactsError):
                await retrieve(service.address, id_)
        code, _, log = await service.stopped()

    assert code == 0
    assert f"UnreadableDocument: the document {ours} cannot be read; run `contactsvc doctor`" in log
    assert "UnreadableDocument: the document with an id not generated by the service cannot be read" in log
    assert PERSONAL not in log
