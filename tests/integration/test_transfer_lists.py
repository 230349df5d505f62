from __future__ import annotations

import re
from pathlib import Path

from contactsvc.transfer.importer import Counts
from tests.integration.stored import PERSONAL
from tests.integration.transfer_world import NOTHING, World, contents


async def test_a_list_is_imported_once(world: World, tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    path.write_text(
        "client_id,type,value,label,is_primary,external_id,metadata.source\n"
        f"client_1,email,{PERSONAL}@example.com,Home,true,,crm\n"
        "client_1,phone,55 1234 5678,,,crm-7,\n"
        f"c2,email,not {PERSONAL},,,,\n"
        f"c2,pigeon,{PERSONAL},,maybe,,\n"
        f"client_1,email,{PERSONAL}.else@example.com,,yes,,\n"
        "client_1,phone,55 1234 5679,,,crm-7,\n"
    )
    flags = ("--default-region", "MX", "--on-error", "skip")

    dry_run = await world.run_import(path, *flags, "--dry-run")
    first = await world.run_import(path, *flags)
    once = await contents(world.restored)
    second = await world.run_import(path, *flags)

    assert (dry_run[:2], dry_run[2]) == ((1, {**NOTHING, "created": 2, "failed": 4, "dry_run": True}), first[2])
    assert first[:2] == (1, {**NOTHING, "created": 2, "failed": 4})
    assert second[:2] == (1, {**NOTHING, "unchanged": 2, "failed": 4})
    assert await contents(world.restored) == once
    email, phone = sorted(once.values(), key=lambda one: str(one["type"]))
    assert (email["is_primary"], email["label"], email["metadata"]) == (True, "Home", ["source=crm"])
    assert (phone["external_id"], phone["value_key"]) == ("crm-7", "phone:+525512345678")
    lines = first[2].splitlines()
    assert [re.match(r"line (\d)", line)[1] for line in lines] == ["4", "5", "7", "6"]  # type: ignore[index]
    assert "value must be an email address" in lines[0]
    assert "is_primary must be true or false" in lines[1]
    assert lines[2] == f"line 7: {phone['_id']}: record repeats line 3"
    assert f"is_primary conflicts with {email['_id']}, the primary of this client and type" in lines[3]


async def test_an_import_stops_at_a_failed_row_before_its_batch(world: World, tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    good = [f"c{i},email,{PERSONAL}{i}@example.com\n" for i in range(400)]
    path.write_text("client_id,type,value\n" + "".join(good[:300]) + "c,email,nobody\n" + "".join(good[300:]))

    dry_run = await world.run_import(path, "--dry-run")
    stopped_dry_run, messages = await world.imported(path, database=world.name, dry_run=True)
    code, counts, err = await world.run_import(path)

    stopped = (
        "stopped at the first failed row; --on-error skip continues. Earlier batches stay written, and the import can "
    )
    assert (code, counts) == (
        1,
        {**NOTHING, "created": 250, "failed": 1, "error": stopped + "be repeated"},
    )
    assert err.startswith("line 302: ")
    assert err.endswith(
        "\nstopped at the first failed row; --on-error skip continues. Earlier batches stay written, and the import "
        "can be repeated\n"
    )
    # A dry run checks every row by default.
    assert dry_run == (1, {**NOTHING, "created": 400, "failed": 1, "dry_run": True}, err.splitlines(keepends=True)[0])
    assert stopped_dry_run == Counts(created=250, failed=1)
    assert messages[1:] == ["stopped at the first failed row; --on-error skip continues"]
