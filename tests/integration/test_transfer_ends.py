"""Imports that end early: what they print, and what they have written."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from pathlib import Path

import pytest

from tests.integration.stored import PERSONAL, document
from tests.integration.transfer_world import NOTHING, World, contents


def long_list(path: Path, rows: int) -> Path:
    """Write a list whose first row fails."""
    path.write_text(
        f"client_id,type,value\nc,email,no {PERSONAL}\n"
        + "".join(f"c{i},email,{PERSONAL}{i}@example.com\n" for i in range(rows))
    )
    return path


def database_of(pid: int) -> int:
    """Return the process of the embedded database that a command has started."""
    (child,) = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return int(child)


async def after_the_first_batch(process: asyncio.subprocess.Process) -> None:
    """Wait until an import has reported the failed row of its first batch, which is written then."""
    assert process.stderr is not None
    async with asyncio.timeout(60):
        assert (await process.stderr.readline()).startswith(b"line 2: value ")


async def test_a_broken_list_writes_nothing(world: World, tmp_path: Path) -> None:
    path = long_list(tmp_path / "list.csv", 600)
    with path.open("a") as file:
        file.write(f'c,email,"{PERSONAL}')

    code, summary, err = await world.run_import(path, "--on-error", "skip")
    plain = await world.run("import", str(path), "--environment", "live", database=world.other)

    error = f"cannot import {path}: line 603 is not valid CSV: unbalanced quotes"
    assert (code, summary) == (1, {**NOTHING, "error": error})
    assert err == f"contactsvc: {error}\n"
    assert plain == (1, "", err)
    assert await world.restored.database.list_collection_names() == []


async def test_an_unreadable_document_ends_an_import_with_its_counts(world: World, tmp_path: Path) -> None:
    await world.restored.insert_one(document("broken", client_id="c500", metadata=None))
    path = long_list(tmp_path / "list.csv", 600)

    code, summary, err = await world.run_import(path, "--on-error", "skip")
    again = await world.run("import", str(path), "--environment", "live", "--on-error", "skip", database=world.other)

    assert code == 1
    assert summary["error"].startswith("the document broken cannot be read; run `contactsvc doctor` ")
    assert err.endswith(f"\ncontactsvc: {summary['error']}\n")
    assert summary == {**NOTHING, "created": 499, "failed": 1, "error": summary["error"]}
    assert again[:2] == (1, "0 created, 0 updated, 499 unchanged, 0 skipped, 1 failed\n")


async def test_an_interrupted_import_prints_its_counts(world: World, tmp_path: Path) -> None:
    path = long_list(tmp_path / "list.csv", 5_000)
    process = await world.start(
        *("import", str(path), "--environment", "live", "--on-error", "skip", "--json"), database=world.other
    )
    await after_the_first_batch(process)
    process.send_signal(signal.SIGTERM)
    out, err = await process.communicate()

    summary = json.loads(out)
    assert process.returncode == 1
    assert summary["error"] == "interrupted; rows written so far remain; run it again"
    assert err.decode() == f"contactsvc: {summary['error']}\n"
    # The last batch may have been committed while the signal came.
    assert summary["created"] >= 249
    assert len(await contents(world.restored)) - summary["created"] in {0, 250}


@pytest.mark.parametrize("flags", [(), ("--json",)])
async def test_an_import_whose_database_dies_prints_its_counts(tmp_path: Path, flags: tuple[str, ...]) -> None:
    path = long_list(tmp_path / "list.csv", 5_000)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "contactsvc", "import", str(path), "--environment", "live", "--on-error", "skip"),
        *("--data-dir", str(tmp_path / "data"), *flags),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={name: value for name, value in os.environ.items() if not name.startswith("CONTACTSVC_")},
    )
    await after_the_first_batch(process)
    os.kill(database_of(process.pid), signal.SIGKILL)
    out, err = await process.communicate()

    assert process.returncode == 1
    last = err.decode().splitlines()[-1]
    assert last.startswith("contactsvc: ")
    if flags:
        summary = json.loads(out)
        assert f"contactsvc: {summary['error']}" == last
        assert (summary["created"] >= 249, summary["failed"]) == (True, 1)
    else:
        assert out.decode().endswith(" created, 0 updated, 0 unchanged, 0 skipped, 1 failed\n")
