from __future__ import annotations

import io
import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from contactsvc.domain.kinds import Environment
from contactsvc.domain.listing import Filter
from contactsvc.domain.normalization import ValueRules
from contactsvc.transfer.exporter import export
from contactsvc.transfer.importer import Counts, Importer, OnConflict
from contactsvc.transfer.json_lines import JsonLinesSink, JsonLinesSource
from contactsvc.v1 import contact_methods_pb2 as pb
from tests.conftest import OpenStores, serving
from tests.integration.stored import NOON, document
from tests.integration.transfer_world import NOTHING, VARIED, World, contents


async def test_a_restore_is_exact_and_can_be_repeated(world: World, tmp_path: Path) -> None:
    await world.collection.insert_many(VARIED)
    await world.api.create("c9", is_primary=True, request_id="r")
    path = tmp_path / "backup.jsonl"

    exported = await world.run("export", "--environment", "live", "--output", str(path))
    dry_run = await world.run_import(path, "--dry-run")
    made_by_dry_run = await world.restored.database.list_collection_names()
    first = await world.run_import(path)
    etags = {one["_id"]: one["etag"] for one in await world.restored.find({}).to_list(length=None)}
    second = await world.run_import(path)

    assert exported == (0, "", "exported 6 contact methods\n")
    assert dry_run == (0, {**NOTHING, "created": 6, "dry_run": True}, "")
    assert made_by_dry_run == []
    assert first == (0, {**NOTHING, "created": 6}, "")
    assert second == (0, {**NOTHING, "unchanged": 6}, "")
    assert await contents(world.restored) == await contents(world.collection)
    assert etags == {one["_id"]: one["etag"] for one in await world.restored.find({}).to_list(length=None)}
    assert not etags.items() & {one["_id"]: one["etag"] for one in VARIED}.items()
    assert path.stat().st_mode & 0o077 == 0
    assert os.listdir(tmp_path) == ["backup.jsonl"]


async def test_an_export_can_be_limited_to_some_records(world: World) -> None:
    await world.collection.insert_many(VARIED)

    code, out, err = await world.run(
        "export", "--environment", "live", "--format", "csv", "--client-id", "client_1", "--type", "email"
    )

    assert (code, err) == (0, "exported 2 contact methods\n")
    assert [line.split(",")[0] for line in out.splitlines()] == ["id", "plain", "primary"]


@pytest.mark.parametrize(("on_conflict", "code"), [("error", 1), ("skip", 0), ("update", 0)])
async def test_a_record_with_other_content_is_kept_by_default(
    world: World, tmp_path: Path, on_conflict: str, code: int
) -> None:
    await world.collection.insert_many(VARIED)
    await world.exported(tmp_path / "a.jsonl")
    await world.imported(tmp_path / "a.jsonl")
    await world.restored.update_one({"_id": "plain"}, {"$set": {"label": "changed since", "etag": "theirs"}})

    result, counts, err = await world.run_import(
        tmp_path / "a.jsonl", "--on-conflict", on_conflict, "--on-error", "skip"
    )

    after = await world.restored.find_one({"_id": "plain"})
    assert after is not None
    name = {"error": "failed", "skip": "skipped", "update": "updated"}[on_conflict]
    assert (result, counts) == (code, {**NOTHING, "unchanged": 4, name: 1})
    assert ("label" not in after) is (on_conflict == "update")
    assert (after["etag"] == "theirs") is (on_conflict != "update")
    assert ("plain: id belongs to plain, whose content differs" in err) is (on_conflict == "error")


async def test_no_row_takes_a_primary_slot_or_an_external_id_from_a_record_that_keeps_it(
    world: World, tmp_path: Path
) -> None:
    await world.collection.insert_many(VARIED)
    await world.exported(tmp_path / "a.jsonl")
    await world.deployment.open_store(f"{world.other}_live")
    theirs = [document("theirs", is_primary=True), document("theirs too", client_id="c3", external_id="crm-1")]
    await world.restored.insert_many(theirs)
    refusals = [
        "external_id belongs to theirs too",
        "is_primary conflicts with theirs, the primary of this client and type",
    ]

    for refusal in refusals:
        counts, messages = await world.imported(
            tmp_path / "a.jsonl", on_conflict=OnConflict.UPDATE, stop_on_error=False
        )
        assert counts.failed == 1
        assert messages == [f"line 4: primary: {refusal}"]
        await world.restored.delete_one({"_id": "theirs too"})

    present = await contents(world.restored)
    assert present.keys() == {"theirs", "plain", "unreadable", "stale", "odd"}
    assert present["theirs"]["is_primary"]


async def test_what_one_row_releases_another_takes_in_any_order(world: World, tmp_path: Path) -> None:
    # More than a batch, so that those who take come in other batches than those who release.
    count = 260
    before = [
        *(document(f"a{i:03}", client_id=f"c{i}", external_id=f"x{i}", is_primary=True) for i in range(count)),
        *(document(f"b{i:03}", client_id=f"c{i}") for i in range(count)),
    ]
    await world.deployment.open_store(f"{world.other}_live")
    await world.restored.insert_many(before)
    now = datetime.now(UTC).replace(microsecond=0)
    after = [
        *(document(f"b{i:03}", client_id=f"c{i}", external_id=f"x{i}", is_primary=True) for i in range(count)),
        *(document(f"a{i:03}", client_id=f"c{i}", updated_at=now) for i in range(count)),
    ]
    await world.collection.insert_many(after)
    await world.exported(tmp_path / "a.jsonl")

    result = await world.imported(tmp_path / "a.jsonl", on_conflict=OnConflict.UPDATE)

    assert result == (Counts(updated=2 * count), [])
    assert await contents(world.restored) == await contents(world.collection)


async def test_a_deleted_record_comes_back(world: World, tmp_path: Path) -> None:
    # Its id is that of the document that remembers the requests that created and deleted it.
    made = await world.api.create("client_1", is_primary=True, request_id="create")
    before = await contents(world.collection)
    await world.exported(tmp_path / "a.jsonl")
    await world.api.stub.DeleteContactMethod(pb.DeleteContactMethodRequest(id=made.id, request_id="delete"))

    code, out, err = await world.run("import", str(tmp_path / "a.jsonl"), "--environment", "live")

    assert (code, err) == (0, "")
    assert out == "1 created, 0 updated, 0 unchanged, 0 skipped, 0 failed\n"
    assert await contents(world.collection) == before
    # A late retry of the delete changes nothing.
    await world.api.stub.DeleteContactMethod(pb.DeleteContactMethodRequest(id=made.id, request_id="delete"))
    assert await world.api.primary_id("client_1") == made.id


async def test_every_kind_of_database_can_be_restored(open_stores: OpenStores) -> None:
    stores, others = await open_stores(), await open_stores()
    file = io.BytesIO()
    async with serving(stores) as api:
        made = [await api.create(f"c{i}", is_primary=True, external_id=f"x{i}") for i in range(3)]
        await export(
            stores[Environment.LIVE],
            JsonLinesSink(file),
            environment="live",
            wanted=Filter(),
            on_progress=lambda done, total: None,
        )
    counts = []
    for _ in range(2):
        importer = Importer(
            others[Environment.LIVE],
            on_conflict=OnConflict.UPDATE,
            stop_on_error=True,
            on_message=lambda line: None,
            on_progress=lambda done: None,
            now=NOON,
        )
        await importer.run(JsonLinesSource(io.BytesIO(file.getvalue())).rows(ValueRules(), NOON))
        counts.append(importer.counts)

    assert counts == [Counts(created=3), Counts(unchanged=3)]
    async with serving(others) as api:
        for one in made:
            found = await api.get(one.id)
            found.etag = one.etag
            assert found == one
            assert await api.primary_id(one.client_id) == one.id
