"""What exports and imports make of verifications: JSON Lines keep them, lists never set them."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest

from contactsvc.domain.kinds import Environment
from contactsvc.store import Document
from contactsvc.transfer.importer import OnConflict
from contactsvc.v1 import contact_methods_pb2 as pb
from tests.conftest import failure_of, serving
from tests.integration.stored import NOON, phone
from tests.integration.transfer_world import NOTHING, World
from tests.verifier import NUMBER, PHONE, VERIFIED, Clock, Verifier

VERIFICATION = ("verified_at", "verification_method")


def caller(world: World) -> Verifier:
    return Verifier(world.api, Clock())


async def stored(world: World, id_: str) -> Document:
    document = await world.restored.find_one({"_id": id_})
    assert document is not None
    return document


async def test_a_restore_keeps_what_was_verified_and_no_challenge(world: World, tmp_path: Path) -> None:
    verifier = caller(world)
    proved = await world.api.create(value=NUMBER, type=PHONE)
    code = (await verifier.start(proved)).code
    proved = (await verifier.check(proved, code)).contact_method
    attested, running = await world.api.create(), await world.api.create()
    await verifier.set(attested, True, method="signed letter")
    pending = (await verifier.start(running)).code

    await world.exported(tmp_path / "a.jsonl")
    counts, _ = await world.imported(tmp_path / "a.jsonl")

    assert counts.created == 3
    assert code not in (tmp_path / "a.jsonl").read_text()
    stores = {one: await world.deployment.open_store(f"{world.other}_{one}") for one in Environment}
    async with serving(stores) as api:
        restored = Verifier(api, Clock())
        for before in (proved, await world.api.get(attested.id), running):
            after = await api.get(before.id)
            after.etag = before.etag
            assert after == before
        for record, given in ((proved, code), (running, pending)):
            assert (await failure_of(restored.check(record, given))).reason == "VERIFICATION_NOT_STARTED"


async def test_a_running_challenge_is_no_content_of_a_record(world: World, tmp_path: Path) -> None:
    record = await world.api.create()
    await world.exported(tmp_path / "a.jsonl")
    await world.imported(tmp_path / "a.jsonl")
    code = (await caller(world).start(record)).code
    await world.exported(tmp_path / "b.jsonl")

    # Into the database where the challenge runs.
    again = await world.imported(tmp_path / "a.jsonl", database=world.name)

    # Apart from the first and the last line, which are about the export.
    one, other = [(tmp_path / name).read_text().splitlines()[1:-1] for name in ("a.jsonl", "b.jsonl")]
    assert one == other
    assert (again[0].unchanged, again[1]) == (1, [])
    assert (await caller(world).check(record, code)).result == VERIFIED


async def test_a_restore_over_a_verified_record_makes_it_what_the_file_says(world: World, tmp_path: Path) -> None:
    verifier = caller(world)
    record = await world.api.create()
    await world.exported(tmp_path / "a.jsonl")
    code = (await verifier.start(record)).code
    await verifier.check(record, code)

    refused, _ = await world.imported(tmp_path / "a.jsonl", database=world.name, stop_on_error=False)
    kept = await world.api.get(record.id)
    counts, _ = await world.imported(tmp_path / "a.jsonl", database=world.name, on_conflict=OnConflict.UPDATE)
    after = await world.api.get(record.id)

    assert (refused.failed, kept.is_verified) == (1, True)
    assert (counts.updated, after.is_verified) == (1, False)
    # The code was right before, and would verify nothing now.
    assert (await failure_of(verifier.check(record, code))).reason == "VERIFICATION_NOT_STARTED"


@pytest.mark.parametrize("name", ["a.csv", "plain.csv"])
async def test_a_list_verifies_nothing_and_takes_nothing_away(world: World, tmp_path: Path, name: str) -> None:
    verifier = caller(world)
    record = await world.api.create(value=NUMBER, type=PHONE, client_id="c")
    await verifier.set(record, True)
    verified = await world.api.get(record.id)
    path = tmp_path / name
    if name == "a.csv":
        code, out, _ = await world.run("export", "--environment", "live", "--format", "csv", "--output", str(path))
        assert (code, out) == (0, "")
        (row,) = csv.DictReader(path.read_text().splitlines())
        assert row["verified_at"]
    else:
        path.write_text(f"client_id,type,value\nc,phone,{NUMBER}\n")

    elsewhere, _ = await world.imported(path)
    here, _ = await world.imported(path, database=world.name)

    assert elsewhere.created == 1
    (document,) = await world.restored.find({}).to_list(length=None)
    assert not set(VERIFICATION) & document.keys()
    assert (here.unchanged, await world.api.get(record.id)) == (1, verified)


async def test_a_list_that_renews_a_normal_form_clears_its_verification(world: World, tmp_path: Path) -> None:
    """It belongs to the normal form; the row is a renewal all the same, and no conflict."""
    stale: dict[str, Any] = {"verified_at": NOON, "verification_method": "code", "client_id": "c", "metadata": []}
    await world.deployment.open_store(f"{world.other}_live")
    await world.restored.insert_one(phone("stale", "+52 1 55 1234 5678", "phone:+5215512345678", **stale))
    (tmp_path / "a.csv").write_text("client_id,type,value\nc,phone,+52 1 55 1234 5678\n")

    counts, messages = await world.imported(tmp_path / "a.csv")

    after = await stored(world, "stale")
    assert (counts.updated, counts.failed) == (1, 0), (messages, NOTHING)
    assert after["value_key"] == "phone:+525512345678"
    assert not set(VERIFICATION) & after.keys()


async def test_the_next_primary_is_a_verified_record_then_the_oldest(world: World) -> None:
    verifier = caller(world)
    primary, oldest, first, second = [
        await world.api.create(client_id="c", is_primary=number == 0) for number in range(4)
    ]
    for record in (second, first):
        await verifier.set(record, True)

    promoted = []
    for record in (primary, first, second):
        request = pb.DeleteContactMethodRequest(id=record.id, on_primary=pb.PRIMARY_DELETE_POLICY_PROMOTE_NEXT)
        promoted.append((await world.api.stub.DeleteContactMethod(request)).promoted_id)

    assert promoted == [first.id, second.id, oldest.id]
