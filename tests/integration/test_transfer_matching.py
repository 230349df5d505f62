"""The same list imported again, whatever happened in between."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from contactsvc import doctor
from contactsvc.store import Document
from tests.conftest import DRIVER
from tests.integration.stored import NOON, document, phone
from tests.integration.transfer_world import NOTHING, World, contents

CASES = Path(__file__).parent.parent / "cases" / "values.json"
MEXICO = ("--default-region", "MX")
USA = ("--default-region", "US")
LENIENT = ("--value-validation", "lenient")
NATIONAL = "55 1234 5678"
ID_0_1_0 = "contact_1nkzsb4sr2tffa0bf5jdqhqkf1"
"""The id that release 0.1.0 derived for this number of client c1 in region MX."""


def written(path: Path, *rows: str, header: str = "client_id,type,value") -> Path:
    path.write_text("\n".join((header, *rows)) + "\n", encoding="utf-8")
    return path


def kept(one: Document) -> dict[str, Any]:
    """Return what a record keeps when its normal form is renewed."""
    return {name: one.get(name) for name in ("_id", "client_id", "value", "label", "is_primary", "metadata")}


async def only(world: World) -> Document:
    (one,) = (await contents(world.restored)).values()
    return one


@pytest.mark.parametrize("case", json.loads(CASES.read_text(encoding="utf-8"))["imports"], ids=lambda case: case["why"])
async def test_an_imported_list_of_the_shared_cases(world: World, tmp_path: Path, case: Mapping[str, Any]) -> None:
    path = tmp_path / "list.csv"
    path.write_text("\n".join(case["rows"]) + "\n", encoding="utf-8")

    first = await world.run_import(path)
    again = await world.run_import(path)

    rows = len(case["rows"]) - 1
    assert first[:2] == (0, {**NOTHING, "created": rows})
    assert again[:2] == (0, {**NOTHING, "unchanged": rows})
    assert rows == case.get("created", rows)
    assert len({one["client_id"] for one in (await contents(world.restored)).values()}) == case.get("clients", 1)


async def test_ids_and_types_are_trimmed(world: World, tmp_path: Path) -> None:
    path = written(
        tmp_path / "list.csv",
        "c77 ,\u200bemail,a@example.com,\u00a0crm-1\u00a0, Home ",
        "c77\u00a0,EMAIL ,b@example.com,\u200b,",
        header=" Client_ID,TYPE\u200b,\u00a0Value,External ID,LABEL",
    )

    assert (await world.run_import(path))[:2] == (0, {**NOTHING, "created": 2})

    first, second = sorted((await contents(world.restored)).values(), key=lambda one: str(one["value"]))
    assert (first["client_id"], first["type"], first["external_id"], first["label"]) == (
        "c77",
        "email",
        "crm-1",
        "Home",
    )
    assert (second["client_id"], second["type"], "external_id" in second) == ("c77", "email", False)


@pytest.mark.parametrize("between", [(), USA, LENIENT], ids=["no region", "US", "lenient"])
async def test_a_list_read_by_other_rules_finds_its_records(
    world: World, tmp_path: Path, between: tuple[str, ...]
) -> None:
    path = written(
        tmp_path / "list.csv", f"c1,phone,{NATIONAL},Desk,true", header="client_id,type,value,label,is_primary"
    )
    await world.run_import(path, *MEXICO)
    first = await only(world)

    code, counts, err = await world.run_import(path, *between)
    second = await only(world)
    code_again, counts_again, _ = await world.run_import(path, *MEXICO)

    assert (code, code_again) == (0, 0)
    assert kept(second) == kept(first)
    assert await only(world) == {**first, "updated_at": (await only(world))["updated_at"]}
    if between == USA:
        # The text is a possible number there too.
        assert (counts["updated"], counts_again["updated"]) == (1, 1)
        assert second["value_key"] == "phone:+15512345678"
        assert "note: normal forms renewed: 1. " in err
    else:
        assert (counts["unchanged"], counts_again["unchanged"]) == (1, 1)


async def test_lenient_then_strict_then_readable(world: World, tmp_path: Path) -> None:
    path = written(tmp_path / "list.csv", f"c1,phone,{NATIONAL}", "c1,email,nobody")

    lenient = await world.run_import(path, *LENIENT)
    before = await contents(world.restored)
    strict = await world.run_import(path)
    other_spelling = written(tmp_path / "other.csv", "c1,email,NOBODY", "c2,email,nobody")
    other = await world.run_import(other_spelling, "--on-error", "skip")
    readable = await world.run_import(path, *MEXICO)

    assert lenient[:2] == (0, {**NOTHING, "created": 2})
    assert strict[:2] == (0, {**NOTHING, "unchanged": 2})
    # Of another client nothing is stored that this text could describe.
    assert other[:2] == (1, {**NOTHING, "unchanged": 1, "failed": 1})
    assert readable[:2] == (0, {**NOTHING, "updated": 1, "unchanged": 1})
    after = await contents(world.restored)
    assert after.keys() == before.keys()
    assert [one.get("value_key") for one in after.values() if one["type"] == "phone"] == ["phone:+525512345678"]


async def test_another_spelling_describes_the_same_record(world: World, tmp_path: Path) -> None:
    path = written(tmp_path / "list.csv", "c1,phone,+52 55 1234 5678", "c1,email,Ana@Example.com")
    other = written(tmp_path / "other.csv", "c1,phone,+525512345678", "c1,email,ana@example.com")
    await world.run_import(path)
    before = await contents(world.restored)

    refused = await world.run_import(other, "--on-error", "skip")
    skipped = await world.run_import(other, "--on-conflict", "skip")
    updated = await world.run_import(other, "--on-conflict", "update")
    unchanged = await world.run_import(other)

    assert [one[1] for one in (refused, skipped, updated, unchanged)] == [
        {**NOTHING, "failed": 2},
        {**NOTHING, "skipped": 2},
        {**NOTHING, "updated": 2},
        {**NOTHING, "unchanged": 2},
    ]
    after = await contents(world.restored)
    assert after.keys() == before.keys()
    assert {one["value"] for one in after.values()} == {"+525512345678", "ana@example.com"}


@pytest.mark.parametrize("region", [MEXICO, USA], ids=["same region", "other region"])
async def test_records_of_release_0_1_0_are_found(world: World, tmp_path: Path, region: tuple[str, ...]) -> None:
    await world.restored.insert_one(
        phone(ID_0_1_0, NATIONAL, "phone:+525512345678", client_id="c1", metadata=[], created_at=NOON)
    )
    path = written(tmp_path / "list.csv", f"c1,phone,{NATIONAL}")

    code, counts, _ = await world.run_import(path, *region)

    assert (code, counts["created"], counts["failed"]) == (0, 0, 0)
    assert (await only(world))["_id"] == ID_0_1_0


async def test_a_record_of_release_0_1_0_is_found_after_its_value_has_changed(world: World, tmp_path: Path) -> None:
    await world.restored.insert_one(phone(ID_0_1_0, "+16502530000", "phone:+16502530000", client_id="c1", metadata=[]))

    code, counts, err = await world.run_import(written(tmp_path / "list.csv", f"c1,phone,{NATIONAL}"), *MEXICO)

    assert (code, counts["failed"]) == (1, 1)
    assert f"line 2: {ID_0_1_0}: id belongs to {ID_0_1_0}, whose content differs" in err


async def test_a_row_takes_no_record_of_another_external_id(world: World, tmp_path: Path) -> None:
    await world.restored.insert_many(
        [
            document("other_system", client_id="c1", value="a@example.com", value_key="email:a@example.com",
                     external_id="other-1", metadata=[]),
            document("nobody's", client_id="c1", value="b@example.com", value_key="email:b@example.com", metadata=[]),
        ]
    )  # fmt: skip
    named = written(
        tmp_path / "named.csv",
        "c1,email,a@example.com,crm-1",
        "c1,email,b@example.com,crm-2",
        header="client_id,type,value,external_id",
    )
    unnamed = written(tmp_path / "unnamed.csv", "c1,email,A@example.com", "c1,email,b@example.com")

    by_value = await world.run_import(unnamed, "--on-conflict", "update")
    after_unnamed = await contents(world.restored)
    taken = await world.run_import(named, "--on-conflict", "update")
    again = await world.run_import(named)

    assert by_value[1] == {**NOTHING, "updated": 1, "unchanged": 1}
    assert after_unnamed["other_system"]["external_id"] == "other-1"
    # A new record beside that of the other system, and an external id for the one that had none.
    assert taken[1] == {**NOTHING, "created": 1, "updated": 1}
    assert again[1] == {**NOTHING, "unchanged": 2}
    after = await contents(world.restored)
    assert (after["other_system"]["external_id"], after["nobody's"]["external_id"]) == ("other-1", "crm-2")
    assert len(after) == 3


async def test_a_row_whose_record_was_given_to_another_external_id_fails(world: World, tmp_path: Path) -> None:
    path = written(tmp_path / "list.csv", "c1,email,a@example.com,crm-1", header="client_id,type,value,external_id")
    await world.run_import(path)
    id_ = (await only(world))["_id"]
    await world.restored.update_one({"_id": id_}, {"$set": {"external_id": "crm-9"}})

    code, counts, err = await world.run_import(path, "--on-conflict", "update")

    assert (code, counts["failed"]) == (1, 1)
    assert f"external_id was that of {id_}, which has another one now" in err
    assert (await only(world))["external_id"] == "crm-9"


async def test_a_list_that_gets_external_ids_keeps_its_records(world: World, tmp_path: Path) -> None:
    await world.run_import(written(tmp_path / "list.csv", "c1,email,a@example.com"))
    id_ = (await only(world))["_id"]
    named = written(tmp_path / "named.csv", "c1,email,a@example.com,crm-1", header="client_id,type,value,external_id")

    code, counts, _ = await world.run_import(named, "--on-conflict", "update")

    assert (code, counts["updated"]) == (0, 1)
    assert ((await only(world))["_id"], (await only(world))["external_id"]) == (id_, "crm-1")


@pytest.mark.parametrize("between", [0, 600])
async def test_rows_of_one_list_that_describe_one_record(world: World, tmp_path: Path, between: int) -> None:
    path = written(
        tmp_path / "list.csv",
        "c1,email,a@example.com,",
        *(f"c{i},email,a{i}@example.com," for i in range(10, 10 + between)),
        "c1,email,a@example.com,",
        "c1,email,A@example.com,",
        "c1,email,a@example.com,other label",
        header="client_id,type,value,label",
    )

    code, counts, err = await world.run_import(path, "--on-error", "skip")

    assert (code, counts) == (1, {**NOTHING, "created": 1 + between, "unchanged": 1, "failed": 2})
    assert [line.partition(": contact_")[0] for line in err.splitlines()] == [
        f"line {between + 4}",
        f"line {between + 5}",
    ]
    assert err.count("record repeats line 2") == 2


async def test_import_doctor_import(world: World, tmp_path: Path) -> None:
    path = written(
        tmp_path / "list.csv",
        f"c1,phone,{NATIONAL}",
        f"c2,phone,{NATIONAL}",
        "c3,phone,+52 1 55 1234 5678",
        "c4,email,nobody",
    )
    await world.run_import(path, *LENIENT)
    await world.restored.update_one({"client_id": "c3"}, {"$set": {"value_key": "phone:+5215512345678"}})
    before = {id_: kept(one) for id_, one in (await contents(world.restored)).items()}

    flags = {"mongodb_uri": world.uri, "database": world.other, "driver": DRIVER, "default_region": "MX"}
    report = doctor.Report(lambda line: None, as_json=True)
    await asyncio.to_thread(doctor.run, flags, {}, fix=True, report=report, confirm=lambda question: True)
    code, counts, _ = await world.run_import(path, *MEXICO)
    last = await world.run_import(path, *MEXICO)

    assert (code, counts["created"], counts["failed"]) == (0, 0, 0)
    assert last[:2] == (0, {**NOTHING, "unchanged": 4})
    assert {id_: kept(one) for id_, one in (await contents(world.restored)).items()} == before
