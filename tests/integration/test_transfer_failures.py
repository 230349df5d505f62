from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import grpc
import pytest

from contactsvc.domain.kinds import Environment
from contactsvc.errors import StartupError
from contactsvc.store import SCHEMA_VERSION, Document, from_document
from contactsvc.transfer.exporter import ExportHeader
from contactsvc.transfer.importer import Counts
from contactsvc.transfer.json_lines import JsonLinesSink
from tests.conftest import failure_of
from tests.integration.stored import NOON, PERSONAL, document
from tests.integration.transfer_world import VARIED, World


async def test_a_truncated_file_is_refused_before_anything_is_written(world: World, tmp_path: Path) -> None:
    await world.collection.insert_many(VARIED)
    path = tmp_path / "a.jsonl"
    await world.exported(path)
    path.write_bytes(path.read_bytes()[:-20])

    code, out, err = await world.run("import", str(path), "--environment", "live", database=world.other)

    assert (code, out) == (1, "")
    assert err == f"contactsvc: cannot import {path}: the file is truncated: its last line is missing\n"
    assert await world.restored.database.list_collection_names() == []


async def test_a_full_disk_leaves_no_file(world: World, tmp_path: Path) -> None:
    await world.collection.insert_many([document(f"r{i:04}", client_id=f"c{i}") for i in range(100)])
    path = tmp_path / "a.jsonl"

    to_file = await world.run("export", "--environment", "live", "--output", str(path), limit="ulimit -f 8")
    to_output = await world.run("export", "--environment", "live", limit="exec > /dev/full")

    assert to_file == (1, "", f"contactsvc: cannot write {path}: File too large\n")
    assert to_output == (1, "", "contactsvc: cannot write to standard output: No space left on device\n")
    assert os.listdir(tmp_path) == []


async def test_a_dry_run_without_room_for_its_temporary_file_ends_with_a_message(world: World, tmp_path: Path) -> None:
    # More than a dry run keeps in memory.
    path = tmp_path / "a.jsonl"
    with path.open("wb") as file:
        sink = JsonLinesSink(file)
        sink.begin(ExportHeader("live", NOON))
        for i in range(250):
            sink.put(from_document(document(f"r{i}", metadata=[f"k{n}={'x' * 500}" for n in range(40)])))
        sink.end()

    code, out, err = await world.run(
        *("import", str(path), "--environment", "live", "--dry-run"), database=world.other, limit="ulimit -f 8"
    )

    assert (code, out) == (1, "")
    assert re.fullmatch(
        r"contactsvc: cannot write the temporary file of the dry run \(SQLITE_\w+\); set TMPDIR .*\n", err
    )


async def test_an_import_reads_the_file_that_it_checked(world: World, tmp_path: Path) -> None:
    await world.collection.insert_many(VARIED)
    path, other = tmp_path / "a.jsonl", tmp_path / "other"
    await world.exported(path)
    other.write_text("no export")
    messages: list[str] = []

    def replace_file(line: str) -> None:
        # Called after the check.
        messages.append(line)
        other.replace(path)

    counts, _ = await world.imported(path, environment=Environment.TEST, dry_run=True, on_message=replace_file)

    assert messages == ["note: importing an export of live into test"]
    assert counts == Counts(created=len(VARIED))


async def test_an_unreadable_document_is_named(world: World, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    await world.collection.insert_many(VARIED)
    path = tmp_path / "a.jsonl"
    await world.exported(path)
    changes: list[Document] = [
        {"$unset": {"metadata": ""}},
        {"$set": {"metadata": [PERSONAL]}},
        {"$set": {"type": PERSONAL}},
        {"$set": {"value_key": 7}},
        {"$set": {"client_id": 7}},
        {"$set": {"value": 7}},
        {"$set": {"is_primary": PERSONAL}},
        {"$set": {"created_at": PERSONAL}},
        {"$set": {"updated_at": None}},
        {"$set": {"etag": None}},
        {"$set": {"label": 7}},
        {"$set": {"verified_at": PERSONAL}},
        {"$set": {"external_id": 7}},
        {"$set": {"schema_version": SCHEMA_VERSION + 1}},
    ]
    failures = []

    for change in changes:
        before: Any = await world.collection.find_one_and_update({"_id": "plain"}, change)
        with pytest.raises(StartupError) as exported:
            await world.exported(tmp_path / "b.jsonl")
        with pytest.raises(StartupError) as imported:
            await world.imported(path, database=world.name, dry_run=True)
        assert str(exported.value) == str(imported.value)
        failures.append(str(exported.value))
        assert (await failure_of(world.api.get("plain"))).code is grpc.StatusCode.INTERNAL
        await world.collection.replace_one({"_id": "plain"}, before)

    *others, newer = failures
    assert len(set(others)) == 1
    assert others[0].startswith("the document plain cannot be read; run `contactsvc doctor` ")
    assert newer.startswith(f"the document plain has layout {SCHEMA_VERSION + 1}")
    assert os.listdir(tmp_path) == ["a.jsonl"]
    assert "UnreadableDocument" in caplog.text
    assert PERSONAL not in caplog.text
