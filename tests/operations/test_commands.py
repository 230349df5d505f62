"""The commands that operators type.

They run in this process where only their output and exit code count, and as processes of their own where the subject
is a service, a signal, or gRPC.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import urllib.request
import uuid
from pathlib import Path

import pytest
import trustme
from click.testing import CliRunner
from contactsvc_client import AsyncContactsClient, ForbiddenError, NetworkError, UnauthorizedError

from contactsvc.cli.main import main
from tests.integration.service_process import ended, launch, running_service


def in_this_process(*arguments: str) -> tuple[int, str, str]:
    """Run a command; return its exit code, output and errors."""
    unset = dict.fromkeys(name for name in os.environ if name.startswith("CONTACTSVC_"))
    result = CliRunner(env=unset).invoke(main, arguments)
    return result.exit_code, result.stdout, result.stderr


async def as_process(*arguments: str) -> tuple[int, str, str]:
    """Run a command as a process; return its exit code, output and errors."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("CONTACTSVC_")}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "contactsvc", *arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=clean,
    )
    return await ended(process)


async def keys(*arguments: str) -> tuple[int, str, str]:
    """Run a command of `contactsvc keys` in this process, on an event loop of its own."""
    return await asyncio.to_thread(in_this_process, "keys", *arguments)


async def make_key(*arguments: str) -> str:
    # As a process: one that is created faster may be refused for 0.1 s, in which a service reads the keys only once.
    code, out, err = await as_process("keys", "create", "--name", "tests", "--environment", "test", *arguments)
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


@pytest.fixture
def database(embedded_uri: str) -> list[str]:
    """Flags for a fresh database on the embedded one of the session, which starts faster than one of its own."""
    return ["--mongodb-uri", embedded_uri, "--database", f"test_{uuid.uuid4().hex[:12]}"]


@pytest.mark.parametrize(
    "arguments",
    [["serv"], ["serve", "--bogus"], ["serve", "extra"], ["keys", "create", "--name", "tests"], ["keys", "revoke"]],
)
def test_wrong_usage_is_reported_in_one_line(arguments: list[str]) -> None:
    code, out, err = in_this_process(*arguments)

    assert (code, out) == (2, "")
    assert err.startswith("contactsvc: ")
    assert err.endswith("--help`)\n")
    assert err.count("\n") == 1


async def test_a_process_ends_with_the_exit_code_and_the_line_of_wrong_usage() -> None:
    assert await as_process("serv") == (
        2,
        "",
        "contactsvc: no such command 'serv'. Did you mean 'serve'? (see `contactsvc --help`)\n",
    )


@pytest.mark.parametrize("command", [(), ("keys",)])
def test_a_group_without_a_command_shows_its_help(command: tuple[str, ...]) -> None:
    code, out, err = in_this_process(*command)

    assert code == 2
    assert "Commands:" in out + err


async def test_keys_are_created_listed_and_revoked_while_the_service_runs(tmp_path: Path) -> None:
    data_dir = ("--data-dir", str(tmp_path))
    reader = await make_key("--allow", "read", "--expires-in", "90d", *data_dir)
    async with running_service(tmp_path) as service:
        writer = await make_key("--allow", "read,write", *data_dir)
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
        code, listed, _ = await keys("list", *data_dir)
        assert code == 0
        id_ = reader.split("_")[2]
        assert f"{id_}  active    test         read" in listed
        assert reader not in listed
        assert reader.split("_")[3] not in listed

        code, out, _ = await keys("revoke", id_, *data_dir)
        assert (code, out) == (0, f"revoked key {id_}; services reject it within 30 seconds\n")
        async with asyncio.timeout(30):
            while not await refused(service.address, reader):
                pass
        assert not await refused(service.address, writer)
        assert "revoked" in (await keys("list", *data_dir))[1]
        code, out, err = await keys("revoke", "unknown", *data_dir)
        assert (code, out) == (1, "")
        assert "there is no key unknown" in err


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["--allow", "everything"], "read, write, delete, erase"),
        (["--allow", "read", "--expires-in", "soon"], "90d"),
        (["--allow", "read", "--name", "x" * 101], "1 to 100 printable characters"),
        (["--allow", "read", "--name", "a\nb"], "1 to 100 printable characters"),
    ],
)
def test_a_key_with_bad_attributes_is_not_created(tmp_path: Path, arguments: list[str], hint: str) -> None:
    code, out, err = in_this_process(
        "keys", "create", "--name", "x", "--environment", "live", "--data-dir", str(tmp_path), *arguments
    )

    assert (code, out) == (2, "")
    assert hint in err
    assert not os.listdir(tmp_path)


@pytest.mark.parametrize(
    ("flags", "hint"),
    [
        (["--listen", "0.0.0.0:0"], "--dangerously-serve-without-tls"),
        (["--tls-cert", "x"], "must be set together"),
        (["--tls-client-ca", "x"], "requires --tls-cert"),
        (["--max-in-flight", "0"], "--max-in-flight"),
        (["--max-deadline", "0"], "--max-deadline"),
        (["--drain-wait", "-1"], "--drain-wait"),
        (["--max-message-bytes", "12"], "--max-message-bytes"),
        (["--reflection", "perhaps"], "--reflection"),
    ],
)
def test_unsafe_or_bad_settings_are_refused(tmp_path: Path, flags: list[str], hint: str) -> None:
    code, out, err = in_this_process("serve", "--data-dir", str(tmp_path), *flags)

    assert (code, out) == (2, "")
    assert hint in err
    assert err.count("\n") == 1
    assert not os.listdir(tmp_path)


@pytest.mark.parametrize(
    ("flags", "hint"),
    [
        (["--listen", "0.0.0.0:0", "--dangerously-serve-without-tls"], "--dangerously-serve-without-keys"),
        (["--tls-cert", "/nowhere/a", "--tls-key", "/nowhere/b"], "/nowhere/a"),
    ],
)
async def test_settings_that_only_the_service_can_check_are_refused(
    database: list[str], flags: list[str], hint: str
) -> None:
    code, out, err = await ended(await launch(*database, *flags))

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
def test_a_probe_with_half_of_what_tls_needs_is_refused(flags: list[str], hint: str) -> None:
    code, out, err = in_this_process("probe", *flags)

    assert (code, out) == (2, "")
    assert hint in err
    assert len(err.splitlines()) == 1


async def test_a_network_is_served_without_tls_and_keys_when_the_flags_say_so(database: list[str]) -> None:
    flags = ["--dangerously-serve-without-tls", "--dangerously-serve-without-keys"]
    process = await launch(*database, "--listen", "0.0.0.0:0", *flags)
    assert process.stdout is not None
    assert b"listening" in await process.stdout.readline()
    process.send_signal(signal.SIGTERM)

    assert (await ended(process))[0] == 0


async def test_metrics_and_probe_work_on_a_tls_server(tmp_path: Path, database: list[str]) -> None:
    ca = trustme.CA()
    made = ca.issue_cert("localhost", "127.0.0.1")
    made.private_key_pem.write_to_path(tmp_path / "tls.key")
    made.cert_chain_pems[0].write_to_path(tmp_path / "tls.crt")
    ca.cert_pem.write_to_path(tmp_path / "ca.crt")
    files = ("--tls-cert", str(tmp_path / "tls.crt"), "--tls-key", str(tmp_path / "tls.key"))
    flags = (*files, "--admin-listen", "127.0.0.1:0", "--reflection", "off")
    async with running_service(tmp_path, *database, *flags) as service:
        assert service.process.stderr is not None
        line = ""
        while "/metrics" not in line:
            line = (await service.process.stderr.readline()).decode()
        url = line.split(" on ")[1].strip()
        probe = ["probe", "--target", service.address]
        ca_file = ("--tls-ca", str(tmp_path / "ca.crt"))
        with_tls, alive, unknown, plain = await asyncio.gather(
            as_process(*probe, *ca_file),
            as_process(*probe, *ca_file, "--service", "liveness"),
            as_process(*probe, *ca_file, "--service", "unknown"),
            as_process(*probe),
        )
        async with AsyncContactsClient(service.address, timeout=5) as sdk:
            with pytest.raises(NetworkError):
                await sdk.contact_methods.retrieve("x")
        text = (await asyncio.to_thread(lambda: urllib.request.urlopen(url).read())).decode()  # noqa: S310

    assert (with_tls[0], with_tls[1], alive[0]) == (0, "SERVING\n", 0)
    assert (unknown[0], plain[0]) == (1, 1)
    assert f"health check of {service.address} failed: NOT_FOUND" in unknown[2]
    assert "contactsvc_database_up 1.0" in text
    assert "contactsvc_database_command_seconds_count" in text
    assert 'contactsvc_database_connections{state="open"}' in text
    assert "contactsvc_tls_certificate_expiry_timestamp_seconds" in text
