"""`contactsvc secrets rotate`."""

from __future__ import annotations

import asyncio
import os
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from contactsvc_client import AsyncContactsClient, VerificationResult

from contactsvc import store
from contactsvc.store import Deployment, Document
from contactsvc.store.deployment import SECRET_COLLECTION
from tests.conftest import DRIVER
from tests.integration.service_process import running_service
from tests.operations.test_commands import in_this_process

SENTENCE = "rotated the verification secret of {}; services use the new one within 75 seconds\n"


@pytest.fixture
async def deployment(embedded_uri: str) -> AsyncIterator[Deployment]:
    connected = await store.connect(embedded_uri, DRIVER)
    try:
        yield connected
    finally:
        await connected.close()


@pytest.fixture
def name() -> str:
    return f"test_{uuid.uuid4().hex[:12]}"


async def rotate(*arguments: str) -> tuple[int, str, str]:
    """Run the command in this process, on an event loop of its own."""
    return await asyncio.to_thread(in_this_process, "secrets", "rotate", *arguments)


async def stored(deployment: Deployment, name: str) -> list[Document]:
    """Return the stored secrets in the order of their ids."""
    found = await deployment.driver.database(f"{name}_keys")[SECRET_COLLECTION].find({}).to_list(length=None)
    return sorted(found, key=lambda document: str(document["_id"]))


async def test_it_adds_a_secret_to_each_environment_and_prints_none(
    embedded_uri: str, deployment: Deployment, name: str
) -> None:
    database = ("--mongodb-uri", embedded_uri, "--database", name)
    first = await rotate(*database)
    second = await rotate(*database)
    of_live = await rotate("--environment", "live", *database)
    secrets = await stored(deployment, name)

    assert first == second == (0, SENTENCE.format("live") + SENTENCE.format("test"), "")
    assert of_live == (0, SENTENCE.format("live"), "")
    assert [document["_id"] for document in secrets] == ["live-1", "live-2", "live-3", "test-1", "test-2"]
    assert len({document["key"] for document in secrets}) == 5


async def test_with_a_file_it_changes_nothing_and_describes_how_to_change_the_file(
    tmp_path: Path, embedded_uri: str, deployment: Deployment, name: str
) -> None:
    file = tmp_path / "secrets"
    file.write_text("x" * 32)
    code, out, err = await rotate(
        *("--mongodb-uri", embedded_uri, "--database", name, "--verification-secret-file", str(file))
    )

    assert (code, out) == (2, "")
    assert f"the secrets are the lines of {file}" in err
    assert "append a new line to the file on every replica" in err
    assert err.count("\n") == 1
    assert await stored(deployment, name) == []


async def test_a_directory_without_a_database_is_left_as_it_is(tmp_path: Path) -> None:
    code, out, err = await rotate("--data-dir", str(tmp_path / "absent"))

    assert (code, out) == (1, "")
    assert "there is no embedded database" in err
    assert os.listdir(tmp_path) == []


async def test_running_services_know_codes_from_before_a_rotation(tmp_path: Path, embedded_uri: str, name: str) -> None:
    database = ("--mongodb-uri", embedded_uri, "--database", name)
    async with (
        running_service(tmp_path, *database) as one,
        running_service(tmp_path, *database) as other,
        AsyncContactsClient(one.address) as sdk,
        AsyncContactsClient(other.address) as sdk_of_other,
    ):
        record = await sdk.contact_methods.create(client_id="c", type="email", value="a@example.com")
        code = (await sdk.contact_methods.start_verification(record.id)).code
        assert (await rotate(*database))[0] == 0
        checked = await sdk_of_other.contact_methods.check_verification(record.id, code or "")

    assert checked.result is VerificationResult.VERIFIED
