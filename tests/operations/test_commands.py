"""What operators type, as processes."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
import urllib.request
from pathlib import Path

import pytest
import trustme
from contactsvc_client import AsyncContactsClient, ForbiddenError, NetworkError, UnauthorizedError
from contactsvc_client import TimeoutError as SdkTimeoutError

from tests.integration.service_process import ended, launch, running_service


async def contactsvc(*arguments: str) -> tuple[int, str, str]:
    """Run a command of the command line; return its exit code, output and errors."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("CONTACTSVC_")}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "contactsvc", *arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=clean,
    )
    return await ended(process)


async def make_key(data_dir: Path, environment: str, allow: str, *more: str) -> str:
    code, out, err = await contactsvc(
        *("keys", "create", "--name", "tests", "--environment", environment, "--allow", allow),
        *("--data-dir", str(data_dir), *more),
    )
    assert code == 0, err
    assert out.strip() not in err
    return out.strip()


async def refused(target: str, key: str) -> bool:
    async with AsyncContactsClient(target, api_key=key) as sdk:
        try:
            await sdk.contact_methods.list(limit=1)
        except UnauthorizedError:
            return True
        return False


@pytest.mark.parametrize(
    "arguments",
    [["serv"], ["serve", "--bogus"], ["serve", "extra"], ["keys", "create", "--name", "tests"], ["keys", "revoke"]],
)
async def test_a_wrong_command_line_is_told_in_one_line(arguments: list[str]) -> None:
    code, out, err = await contactsvc(*arguments)

    assert (code, out) == (2, "")
    assert err.startswith("contactsvc: ")
    assert err.endswith("--help`)\n")
    assert err.count("\n") == 1


async def test_keys_are_made_listed_and_revoked_while_the_service_runs(tmp_path: Path) -> None:
    reader = await make_key(tmp_path, "test", "read", "--expires-in", "90d")
    async with running_service(tmp_path) as service:
        writer = await make_key(tmp_path, "test", "read,write")
        async with (
            AsyncContactsClient(service.address, api_key=reader, environment="test") as reading,
            AsyncContactsClient(service.address, api_key=writer) as writing,
            AsyncContactsClient(service.address) as stranger,
        ):
            made = await writing.contact_methods.create(client_id="c", type="email", value="a@example.com")
            assert (await reading.contact_methods.retrieve(made.id)) == made
            with pytest.raises(ForbiddenError):
                await reading.contact_methods.update(made.id, label="x")
            with pytest.raises(ForbiddenError):
                await writing.contact_methods.delete(made.id)
            with pytest.raises(UnauthorizedError):
                await stranger.contact_methods.retrieve(made.id)
        code, listed, _ = await contactsvc("keys", "list", "--data-dir", str(tmp_path))
        assert code == 0
        id_ = reader.split("_")[2]
        assert f"{id_}  active    test         read" in listed
        assert reader not in listed
        assert reader.split("_")[3] not in listed

        code, out, _ = await contactsvc("keys", "revoke", id_, "--data-dir", str(tmp_path))
        assert (code, out) == (0, f"revoked key {id_}; services reject it within 30 seconds\n")
        async with asyncio.timeout(30):
            while not await refused(service.address, reader):
                pass
        assert not await refused(service.address, writer)
        assert "revoked" in (await contactsvc("keys", "list", "--data-dir", str(tmp_path)))[1]
        assert (await contactsvc("keys", "revoke", "nobody", "--data-dir", str(tmp_path)))[0] == 1


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["--allow", "everything"], "read, write, delete, erase"),
        (["--allow", "read", "--expires-in", "soon"], "90d"),
    ],
)
async def test_a_key_that_makes_no_sense_is_not_made(tmp_path: Path, arguments: list[str], hint: str) -> None:
    code, out, err = await contactsvc(
        "keys", "create", "--name", "x", "--environment", "live", "--data-dir", str(tmp_path), *arguments
    )

    assert (code, out) == (2, "")
    assert hint in err
    assert not os.listdir(tmp_path)


@pytest.mark.parametrize(
    ("flags", "hint"),
    [
        (["--listen", "0.0.0.0:0"], "--dangerously-serve-without-tls"),
        (["--listen", "0.0.0.0:0", "--dangerously-serve-without-tls"], "--dangerously-serve-without-keys"),
        (["--tls-cert", "x"], "must be set together"),
        (["--tls-client-ca", "x"], "requires --tls-cert"),
        (["--tls-cert", "/nowhere/a", "--tls-key", "/nowhere/b"], "/nowhere/a"),
        (["--max-in-flight", "0"], "--max-in-flight"),
        (["--max-deadline", "0"], "--max-deadline"),
        (["--drain-wait", "-1"], "--drain-wait"),
        (["--max-message-bytes", "12"], "--max-message-bytes"),
        (["--reflection", "perhaps"], "--reflection"),
    ],
)
async def test_what_would_be_unsafe_or_makes_no_sense_is_refused(tmp_path: Path, flags: list[str], hint: str) -> None:
    code, out, err = await ended(await launch("--data-dir", str(tmp_path), *flags))

    assert (code, out) == (2, "")
    assert hint in err.splitlines()[-1]
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("flags", "hint"),
    [
        (["--tls-ca", "x", "--tls-cert", "y"], "must be set together"),
        (["--tls-ca", "x", "--tls-key", "y"], "must be set together"),
        (["--tls-cert", "x", "--tls-key", "y"], "--tls-ca"),
        (["--tls-server-name", "x"], "--tls-ca"),
    ],
)
async def test_a_probe_with_half_of_what_tls_needs_is_refused(flags: list[str], hint: str) -> None:
    code, out, err = await contactsvc("probe", *flags)

    assert (code, out) == (2, "")
    assert hint in err
    assert len(err.splitlines()) == 1


async def test_a_network_can_be_served_by_those_who_mean_it(tmp_path: Path) -> None:
    flags = ["--dangerously-serve-without-tls", "--dangerously-serve-without-keys"]
    process = await launch("--data-dir", str(tmp_path), "--listen", "0.0.0.0:0", *flags)
    assert process.stdout is not None
    assert b"listening" in await process.stdout.readline()
    process.send_signal(signal.SIGTERM)

    assert (await ended(process))[0] == 0


async def test_metrics_and_probe_tell_of_a_tls_server(tmp_path: Path) -> None:
    ca = trustme.CA()
    made = ca.issue_cert("localhost", "127.0.0.1")
    made.private_key_pem.write_to_path(tmp_path / "tls.key")
    made.cert_chain_pems[0].write_to_path(tmp_path / "tls.crt")
    ca.cert_pem.write_to_path(tmp_path / "ca.crt")
    files = ("--tls-cert", str(tmp_path / "tls.crt"), "--tls-key", str(tmp_path / "tls.key"))
    async with running_service(tmp_path, *files, "--admin-listen", "127.0.0.1:0", "--reflection", "off") as service:
        assert service.process.stderr is not None
        line = ""
        while "/metrics" not in line:
            line = (await service.process.stderr.readline()).decode()
        url = line.split(" on ")[1].strip()
        probe = ["probe", "--target", service.address]
        with_tls = await contactsvc(*probe, "--tls-ca", str(tmp_path / "ca.crt"))
        alive = await contactsvc(*probe, "--tls-ca", str(tmp_path / "ca.crt"), "--service", "liveness")
        unknown = await contactsvc(*probe, "--tls-ca", str(tmp_path / "ca.crt"), "--service", "nobody")
        plain = await contactsvc(*probe)
        async with AsyncContactsClient(service.address, timeout=5) as sdk:
            with pytest.raises(NetworkError):
                await sdk.contact_methods.retrieve("x")
        text = (await asyncio.to_thread(lambda: urllib.request.urlopen(url).read())).decode()  # noqa: S310

    assert (with_tls[0], with_tls[1], alive[0]) == (0, "SERVING\n", 0)
    assert (unknown[0], plain[0]) == (1, 1)
    assert "NOT_FOUND" in unknown[2]
    assert "contactsvc_database_up 1.0" in text
    assert "contactsvc_database_command_seconds_count" in text
    assert 'contactsvc_database_connections{state="open"}' in text
    assert "contactsvc_tls_certificate_expiry_timestamp_seconds" in text


async def test_a_second_signal_stops_a_drain_at_once(tmp_path: Path) -> None:
    async with running_service(tmp_path, "--drain-wait", "3600") as service:
        service.process.send_signal(signal.SIGTERM)
        assert service.process.stderr is not None
        line = ""
        while "health reports NOT_SERVING" not in line:
            line = (await service.process.stderr.readline()).decode()
        assert (await contactsvc("probe", "--target", service.address))[0] == 1
        assert (await contactsvc("probe", "--target", service.address, "--service", "liveness"))[0] == 0
        code, _, err = await service.stopped()

    assert code == 0
    assert "second signal" in err


async def test_a_stop_amid_writes_loses_nothing_acknowledged_and_halves_no_batch(tmp_path: Path) -> None:
    acknowledged: list[str] = []
    # Without retries: what is told here has to be the service's own answer.
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
                    items = [{"client_id": f"b{number}", "type": "other", "value": f"{i}"} for i in range(20)]
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


@pytest.mark.parametrize("signals", [1, 2])
async def test_a_stop_ends_although_the_database_hangs(tmp_path: Path, signals: int) -> None:
    async with running_service(tmp_path, "--drain-grace", "1") as service:
        database = embedded_database_of(service.process.pid)
        async with AsyncContactsClient(service.address, timeout=0.2) as sdk:
            await sdk.contact_methods.create(client_id="c", type="other", value="before", timeout=10)
            os.kill(database, signal.SIGSTOP)
            try:
                for i in range(20):
                    with pytest.raises(SdkTimeoutError):
                        await sdk.contact_methods.create(client_id="c", type="other", value=f"{i}")
                if signals == 2:
                    service.process.send_signal(signal.SIGTERM)
                code, _, err = await service.stopped()
            finally:
                os.kill(database, signal.SIGCONT)

    assert code == 1
    assert re.search(r"^contactsvc: stopped while \d+ writes? ha(ve|s) not ended", err, re.MULTILINE)
    # It stops by itself, also when it has to give up what it was doing.
    async with asyncio.timeout(60):
        while Path(f"/proc/{database}").exists():  # noqa: ASYNC110, ASYNC240 - asks the kernel, which tells nobody
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
