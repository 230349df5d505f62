"""Programs that are started without standard streams, or whose reader has gone."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.integration.service_process import ended

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="/dev/full, /proc")

PATIENCE = 60


def without(*descriptors: int) -> Callable[[], None]:
    """Return what a new process does before its program: close what it shall not have."""

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
    async with asyncio.timeout(PATIENCE):
        while line := (await stream.readline()).decode():
            if text in line:
                return line
    raise AssertionError(f"it has ended without a word of {text!r}")


def serve(data_dir: Path, workers: str = "1") -> tuple[str, ...]:
    return ("serve", "--listen", "127.0.0.1:0", "--workers", workers, "--data-dir", str(data_dir))


@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize("missing", [(0,), (1,), (2,), (0, 1)], ids=str)
async def test_a_service_without_a_standard_stream_serves_all_the_same(
    tmp_path: Path, missing: tuple[int, ...], workers: str
) -> None:
    process = await started(*serve(tmp_path, workers), preexec_fn=without(*missing))

    if 1 in missing:
        # It has no other place to say so.
        assert "could not announce it" in await line_with("listening on", process.stderr)
    else:
        await line_with("contactsvc listening on", process.stdout)
    process.send_signal(signal.SIGTERM)
    code, _, err = await ended(process)

    assert code == 0
    assert "Traceback" not in err


@pytest.mark.parametrize("output", ["a full disk", "none"])
async def test_a_key_that_cannot_be_printed_is_revoked(tmp_path: Path, output: str) -> None:
    create = ("keys", "create", "--name", "x", "--environment", "live", "--allow", "read", "--data-dir", str(tmp_path))
    if output == "a full disk":
        full = os.open("/dev/full", os.O_WRONLY)
        process = await started(*create, stdout=full)
        os.close(full)
    else:
        process = await started(*create, preexec_fn=without(1))
    assert process.stderr is not None
    err = (await process.stderr.read()).decode()
    code = await process.wait()
    _, listed, _ = await ended(await started("keys", "list", "--data-dir", str(tmp_path)))

    assert code == 1
    assert re.search(r"^contactsvc: cannot write to standard output.*revoked key \w+$", err.splitlines()[-1])
    assert "revoked" in listed
    assert "active" not in listed


@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize("reader", ["a full disk", "one that has gone"])
async def test_an_announcement_that_nobody_can_read_is_logged_and_the_service_serves(
    tmp_path: Path, reader: str, workers: str
) -> None:
    if reader == "a full disk":
        output = os.open("/dev/full", os.O_WRONLY)
    else:
        left, output = os.pipe()
        os.close(left)
    process = await started(*serve(tmp_path, workers), stdout=output)
    os.close(output)

    warning = await line_with("could not announce it", process.stderr)
    address = warning.split(" listening on ")[1].split(",")[0]
    code, out, _ = await ended(await started("probe", "--target", address))
    process.send_signal(signal.SIGTERM)

    assert (code, out) == (0, "SERVING\n")
    assert process.stderr is not None
    async with asyncio.timeout(PATIENCE):
        err = (await process.stderr.read()).decode()
        assert await process.wait() == 0
    assert "Traceback" not in err
    assert "Exception ignored" not in err
