from __future__ import annotations

import asyncio
import json
import os
import socket
import sys
from pathlib import Path

import pytest
from contactsvc_client import AsyncContactsClient

from tests.integration.doctor_patient import Patient, run_doctor, stale_value
from tests.integration.service_process import running_service
from tests.integration.stored import PERSONAL, PERSONAL_DIGITS
from tests.integration.transfer_world import World


async def test_it_works_with_and_without_a_running_service(tmp_path: Path) -> None:
    async with running_service(tmp_path) as service:
        async with AsyncContactsClient(service.address) as sdk:
            await sdk.contact_methods.create(client_id="c1", type="email", value=f"{PERSONAL}@example.com")
        beside = await run_doctor("--data-dir", str(tmp_path))
        async with AsyncContactsClient(service.address) as sdk:
            assert len((await sdk.contact_methods.list_by_client("c1")).data) == 1
        await service.stopped()
    alone = await run_doctor(CONTACTSVC_DATA_DIR=str(tmp_path))

    assert beside == alone
    code, out, err = alone
    assert (code, err) == (0, "")
    assert "nothing wrong, 1 note; contact methods checked: 1 in live, 0 in test" in out
    assert PERSONAL not in out
    # The service can still start.
    async with running_service(tmp_path):
        pass


@pytest.mark.parametrize(
    ("flags", "answer", "is_fixed"), [(["--yes"], "", True), ([], "y\n", True), ([], "n\n", False), ([], "", False)]
)
async def test_a_fix_has_to_be_confirmed(patient: Patient, flags: list[str], answer: str, is_fixed: bool) -> None:
    await stale_value(patient)
    flags = ["--mongodb-uri", patient.uri, "--database", patient.name, "--fix", *flags]

    code, out, _ = await run_doctor(*flags, answer=answer)

    assert code == (0 if is_fixed else 1)
    assert "plan     live: rewrite the normalized value of stale" in out
    assert ("fixed    live: rewrite the normalized value of stale" in out) is is_fixed
    assert ("nothing was changed" in out) is not is_fixed
    assert ((await patient.get("stale"))["etag"] == "etag of stale") is not is_fixed
    assert PERSONAL_DIGITS not in out


async def test_all_invalid_settings_are_named_with_exit_code_2() -> None:
    code, out, _ = await run_doctor("--driver", "odbc", CONTACTSVC_DEFAULT_REGION="ZZ")

    assert code == 2
    assert "--driver" in out
    assert "CONTACTSVC_DEFAULT_REGION" in out


@pytest.mark.parametrize(
    ("environ", "hint"),
    [
        ({"CONTACTSVC_LISTEN": "0.0.0.0:50051"}, "--dangerously-serve-without-tls"),
        ({"CONTACTSVC_TLS_CERT": "/nowhere/a", "CONTACTSVC_TLS_KEY": "/nowhere/b"}, "cannot read /nowhere/a"),
    ],
)
async def test_settings_that_the_service_would_refuse_are_bad_configuration(environ: dict[str, str], hint: str) -> None:
    code, out, _ = await run_doctor(**environ)

    assert code == 2
    assert hint in out


async def test_a_network_that_would_be_served_without_keys_is_a_finding(patient: Patient) -> None:
    open_to_all = {"listen": "0.0.0.0:0", "dangerously_serve_without_tls": "true"}

    refused = await patient.checked(open_to_all)
    meant = await patient.checked({**open_to_all, "dangerously_serve_without_keys": "true"})

    assert refused.code == 1
    assert any("--dangerously-serve-without-keys" in line.get("message", "") for line in refused.lines)
    assert not any("--dangerously-serve-without-keys" in line.get("message", "") for line in meant.lines)


async def test_an_invalid_uri_is_bad_configuration_and_not_quoted() -> None:
    code, out, err = await run_doctor(CONTACTSVC_MONGODB_URI="mongodb://user:hunter2@host:notaport/")

    assert code == 2
    assert "hunter2" not in out + err


async def test_an_unreachable_database_is_a_finding() -> None:
    with socket.socket() as nobody:
        # Bound but not listening, so that no other process answers there.
        nobody.bind(("127.0.0.1", 0))
        uri = f"mongodb://user:hunter2@127.0.0.1:{nobody.getsockname()[1]}/?serverSelectionTimeoutMS=100"
        code, out, err = await run_doctor("--json", CONTACTSVC_MONGODB_URI=uri)

    finding, summary = map(json.loads, out.splitlines())
    assert code == 1
    assert (finding["check"], summary["wrong"]) == ("database", 1)
    assert "does not answer" in finding["message"]
    assert "hunter2" not in out + err


async def test_a_missing_database_is_a_warning_and_not_created(patient: Patient) -> None:
    name = World.new_name()

    result = await patient.checked({"database": name}, fix=True)

    assert result.code == 0
    assert result.lines[-1]["warning"] == 2
    assert await patient.deployment.driver.database(f"{name}_live").list_collection_names() == []


async def test_a_directory_without_a_database_is_left_as_it_is(tmp_path: Path) -> None:
    for directory in (tmp_path / "absent", tmp_path):
        code, out, _ = await run_doctor("--data-dir", str(directory))

        assert code == 1
        assert f"there is no embedded database in {directory}" in out
    assert os.listdir(tmp_path) == []


async def test_a_standalone_server_is_a_warning_and_a_secret_in_its_database_a_note(tmp_path: Path) -> None:
    secrets = tmp_path / "secrets"
    secrets.write_text("x" * 32)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    (tmp_path / "secantusd.toml").touch()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", "from secantus.cli import main; main()", "--standalone", "--log-level", "ERROR"),
        *("--host", "127.0.0.1", "--port", str(port)),
        *("--storage-path", str(tmp_path / "data"), "--config", str(tmp_path / "secantusd.toml")),
    )
    try:
        uri = f"mongodb://127.0.0.1:{port}/?directConnection=true&serverSelectionTimeoutMS=30000"
        code, out, err = await run_doctor("--mongodb-uri", uri)
        with_file = await run_doctor("--mongodb-uri", uri, CONTACTSVC_VERIFICATION_SECRET_FILE=str(secrets))
    finally:
        process.terminate()
        await process.wait()

    assert (code, err) == (0, "")
    assert "warning  this is a standalone server" in out
    assert "note     the database holds both the verification secret and the challenges" in out
    assert "verification secret" not in with_file[1]


async def test_a_secret_file_that_cannot_be_used_is_a_finding(tmp_path: Path) -> None:
    secrets = tmp_path / "secrets"
    secrets.write_bytes(b"\xff" * 40)

    code, out, _ = await run_doctor("--data-dir", str(tmp_path), "--verification-secret-file", str(secrets))

    assert code == 2
    assert out.startswith(f"wrong    the verification secret file {secrets} must be text in UTF-8\n")
