"""Processes that start without standard streams, or whose reader has closed the pipe."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.integration.service_process import ended

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="/dev/full, /proc")

TIMEOUT_SECONDS = 60


def without(*descriptors: int) -> Callable[[], None]:
    """Return a function that closes descriptors, to run in a new process before its program."""

    def close() -> None:
        for descriptor in descriptors:
            os.close(descriptor)

    return close


async def started(*arguments: str, **streams: object) -> asyncio.subprocess.Process:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("CONTACTSVC_")}
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "contactsvc", *arguments),
        **{"stdout": asyncio.subprocess.PIPE, "stderr": asyncio.subprocess.PIPE, "env": clean, **streams},  # type: ignore[arg-type]
    )


async def line_with(text: str, stream: asyncio.StreamReader | None) -> str:
    assert stream is not None
    async with asyncio.timeout(TIMEOUT_SECONDS):
        while line := (await stream.readline()).decode():
            if text in line:
                return line
    raise AssertionError(f"the stream ended without {text!r}")


@pytest.fixture
def database(embedded_uri: str) -> tuple[str, ...]:
    """Flags for a fresh database on the embedded one of the session, which starts faster than one of its own."""
    return ("--mongodb-uri", embedded_uri, "--database", f"test_{uuid.uuid4().hex[:12]}")


def serve(*flags: str, workers: str = "1") -> tuple[str, ...]:
    return ("serve", "--listen", "127.0.0.1:0", "--workers", workers, *flags)


@pytest.mark.parametrize("missing", [(0,), (1,), (2,), (0, 1)], ids=str)
async def test_a_service_without_a_standard_stream_starts_its_database_and_serves(
    tmp_path: Path, missing: tuple[int, ...]
) -> None:
    await serve_without(missing, serve("--data-dir", str(tmp_path)))


@pytest.mark.parametrize("missing", [(0,), (1,), (2,)], ids=str)
async def test_a_supervisor_without_a_standard_stream_serves(
    database: tuple[str, ...], missing: tuple[int, ...]
) -> None:
    await serve_without(missing, serve(*database, workers="2"))


async def test_a_supervisor_without_standard_streams_starts_its_database_and_serves(tmp_path: Path) -> None:
    await serve_without((0, 1), serve("--data-dir", str(tmp_path), workers="2"))


async def serve_without(missing: tuple[int, ...], command: tuple[str, ...]) -> None:
    """Start a service without standard streams, and stop it once it has announced its address."""
    process = await started(*command, preexec_fn=without(*missing))

    if 1 in missing:
        # Standard error is the only stream left for the address.
        assert "could not announce it" in await line_with("listening on", process.stderr)
    else:
        await line_with("contactsvc listening on", process.stdout)
    process.send_signal(signal.SIGTERM)
    code, _, err = await ended(process)

    assert code == 0
    assert "Traceback" not in err


@pytest.mark.parametrize("output", ["a full disk", "none"])
async def test_a_key_that_cannot_be_printed_is_revoked(database: tuple[str, ...], output: str) -> None:
    create = ("keys", "create", "--name", "x", "--environment", "live", "--allow", "read", *database)
    if output == "a full disk":
        full = os.open("/dev/full", os.O_WRONLY)
        process = await started(*create, stdout=full)
        os.close(full)
    else:
        process = await started(*create, preexec_fn=without(1))
    assert process.stderr is not None
    err = (await process.stderr.read()).decode()
    code = await process.wait()
    _, listed, _ = await ended(await started("keys", "list", *database))

    assert code == 1
    assert re.search(r"^contactsvc: cannot write to standard output.*revoked key \w+$", err.splitlines()[-1])
    assert "revoked" in listed
    assert "active" not in listed


@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize("reader", ["a full disk", "a closed pipe"])
async def test_an_announcement_that_cannot_be_printed_is_logged_and_the_service_serves(
    database: tuple[str, ...], reader: str, workers: str
) -> None:
    if reader == "a full disk":
        output = os.open("/dev/full", os.O_WRONLY)
    else:
        left, output = os.pipe()
        os.close(left)
    process = await started(*serve(*database, workers=workers), stdout=output)
    os.close(output)

    warning = await line_with("could not announce it", process.stderr)
    address = warning.split(" listening on ")[1].split(",")[0]
    code, out, _ = await ended(await started("probe", "--target", address))
    process.send_signal(signal.SIGTERM)

    assert (code, out) == (0, "SERVING\n")
    assert process.stderr is not None
    async with asyncio.timeout(TIMEOUT_SECONDS):
        err = (await process.stderr.read()).decode()
        assert await process.wait() == 0
    assert "Traceback" not in err
    assert "Exception ignored" not in err
