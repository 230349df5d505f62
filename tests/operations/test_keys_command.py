"""`contactsvc keys`: where the key goes, what is said of it, and its rotation."""

from __future__ import annotations

import os
import re
import stat
import uuid
from pathlib import Path

import pytest

from tests.operations.test_commands import in_this_process, keys
from tests.operations.test_streams import started

MAKE = ("create", "--name", "tests", "--environment", "test", "--allow", "read")


@pytest.fixture
def database(embedded_uri: str) -> tuple[str, ...]:
    return ("--mongodb-uri", embedded_uri, "--database", f"test_{uuid.uuid4().hex[:12]}")


async def make_key(database: tuple[str, ...], *arguments: str) -> str:
    code, out, err = await keys(*MAKE, *arguments, *database)
    assert code == 0, err
    return out.strip()


async def listed(database: tuple[str, ...]) -> list[dict[str, str]]:
    """Return the rows of `keys list` by the titles of the columns."""
    code, out, err = await keys("list", *database)
    assert code == 0, err
    header, *rows = out.splitlines()
    titles = re.findall(r"[A-Z]+(?: [A-Z]+)*", header)
    return [dict(zip(titles, re.split(r"  +", row), strict=True)) for row in rows]


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


async def test_output_writes_the_key_to_a_file_of_its_owner(tmp_path: Path, database: tuple[str, ...]) -> None:
    target = tmp_path / "new.key"
    umask = os.umask(0)
    try:
        code, out, err = await keys(*MAKE, "--output", str(target), *database)
    finally:
        os.umask(umask)

    assert (code, out) == (0, "")
    assert mode_of(target) == 0o600
    text = target.read_text()
    assert re.fullmatch(r"contactsvc_test_[0-9a-f]{12}_[0-9a-f]{64}\n", text)
    assert f"{target} has the key" in err
    assert text.strip() not in err
    assert [row["ID"] for row in await listed(database)] == [text.split("_")[2]]


@pytest.mark.parametrize("present", ["a file", "a link", "a broken link", "a directory"])
async def test_output_overwrites_nothing_and_makes_no_key(
    tmp_path: Path, database: tuple[str, ...], present: str
) -> None:
    target, other = tmp_path / "new.key", tmp_path / "other"
    match present:
        case "a file":
            target.write_text("precious")
        case "a directory":
            target.mkdir()
        case _:
            if present == "a link":
                other.write_text("precious")
            target.symlink_to(other)

    code, out, err = await keys(*MAKE, "--output", str(target), *database)

    assert (code, out) == (2, "")
    assert f"{target} exists, and --output overwrites nothing" in err
    if present in {"a file", "a link"}:
        assert target.read_text() == "precious"
    assert other.exists() == (present == "a link")
    assert await listed(database) == []


async def test_output_that_cannot_be_created_makes_no_key(tmp_path: Path, database: tuple[str, ...]) -> None:
    code, _, err = await keys(*MAKE, "--output", str(tmp_path / "missing" / "new.key"), *database)

    assert code == 1
    assert "No such file or directory" in err
    assert await listed(database) == []


def test_a_key_that_cannot_be_stored_leaves_no_file(tmp_path: Path) -> None:
    target = tmp_path / "new.key"

    code, _, _ = in_this_process(
        *("keys", *MAKE, "--output", str(target)),
        *("--mongodb-uri", "mongodb://127.0.0.1:1/?serverSelectionTimeoutMS=10"),
    )

    assert code == 1
    assert not target.exists()


async def test_create_says_that_a_key_never_expires(database: tuple[str, ...]) -> None:
    _, _, forever = await keys(*MAKE, *database)
    _, _, limited = await keys(*MAKE, "--expires-in", "90d", *database)

    assert re.match(r"created key \w+, which never expires; store the key below", forever)
    assert re.match(r"created key \w+, which expires at \S+Z; store the key below", limited)


@pytest.mark.parametrize(
    "name", ["", " ", "\u3164", "\u200b", "\u00a0\u2003", " \ufe0f ", "\U000e0020"], ids=lambda name: ascii(name)
)
def test_a_name_of_blank_or_invisible_characters_is_refused(tmp_path: Path, name: str) -> None:
    code, out, err = in_this_process(
        *("keys", "create", "--name", name, "--environment", "live", "--allow", "read", "--data-dir", str(tmp_path))
    )

    assert (code, out) == (2, "")
    assert "--name must have 1 to 100 printable characters, and not only blank or invisible ones" in err
    assert not os.listdir(tmp_path)


async def test_the_list_shows_rates(database: tuple[str, ...]) -> None:
    for rate in (["--rate", "2.5"], ["--rate", "100/s"], ["--rate", "0"], []):
        await make_key(database, *rate)

    assert {row["RATE"] for row in await listed(database)} == {"2.5/s", "100/s", "none", "-"}


@pytest.mark.parametrize("rate", ["fast", "-1", "1/m", "٣", "1e3", ""])
async def test_a_rate_that_is_no_number_of_calls_per_second_is_refused(database: tuple[str, ...], rate: str) -> None:
    code, _, err = await keys(*MAKE, "--rate", rate, *database)

    assert code == 2
    assert "--rate must be a number of calls per second, such as 50 or 0.5/s" in err


async def test_a_rotation_prints_the_new_key_and_the_list_shows_when_the_old_one_stops(
    database: tuple[str, ...],
) -> None:
    old = await make_key(database, "--rate", "5")
    id_ = old.split("_")[2]

    code, out, err = await keys("rotate", id_, "--overlap", "2d", *database)

    assert code == 0, err
    new = out.strip()
    assert new.split("_")[:3] == old.split("_")[:3]
    assert new != old
    (row,) = await listed(database)
    assert row["STATE"] == "active"
    assert row["RATE"] == "5/s"
    assert f"rotated key {id_}; the previous one works until {row['OLD SECRET']}; store the key below" in err


async def test_a_rotation_overlaps_for_a_day_unless_told_otherwise(database: tuple[str, ...]) -> None:
    id_ = (await make_key(database)).split("_")[2]

    _, _, err = await keys("rotate", id_, *database)

    assert "the previous one works until" in err
    _, out, _ = await keys("rotate", "--help")
    assert "24h" in out


async def test_a_second_rotation_waits_for_the_first_or_stops_all_older_secrets(database: tuple[str, ...]) -> None:
    id_ = (await make_key(database)).split("_")[2]
    await keys("rotate", id_, *database)
    (before,) = await listed(database)

    code, out, err = await keys("rotate", id_, *database)
    assert (code, out) == (1, "")
    assert f"its previous secret works until {before['OLD SECRET']}" in err
    assert "--overlap 0h" in err
    assert await listed(database) == [before]

    code, out, err = await keys("rotate", id_, "--overlap", "0h", *database)
    assert code == 0
    assert "the previous one stops within 30 seconds" in err
    assert [row["OLD SECRET"] for row in await listed(database)] == ["-"]


async def test_a_rotation_into_a_file(tmp_path: Path, database: tuple[str, ...]) -> None:
    id_ = (await make_key(database)).split("_")[2]
    target = tmp_path / "new.key"

    refused = await keys("rotate", id_, "--output", str(tmp_path), *database)
    code, out, _ = await keys("rotate", id_, "--output", str(target), *database)

    assert refused[0] == 2
    assert (code, out) == (0, "")
    assert mode_of(target) == 0o600
    assert target.read_text().split("_")[2] == id_


async def test_what_cannot_be_rotated_leaves_no_file(tmp_path: Path, database: tuple[str, ...]) -> None:
    id_ = (await make_key(database)).split("_")[2]
    await keys("revoke", id_, *database)
    target = tmp_path / "new.key"

    revoked = await keys("rotate", id_, "--output", str(target), *database)
    unknown = await keys("rotate", "unknown", "--output", str(target), *database)

    assert (revoked[0], unknown[0]) == (1, 1)
    assert f"key {id_} is revoked; create a new one" in revoked[2]
    assert "there is no key unknown" in unknown[2]
    assert not target.exists()


@pytest.mark.parametrize("overlap", ["soon", "-1h", "1.5h", "00h", ""])
async def test_an_overlap_that_is_no_duration_is_refused(database: tuple[str, ...], overlap: str) -> None:
    code, _, err = await keys("rotate", "x", "--overlap", overlap, *database)

    assert code == 2
    assert "--overlap must be a number of days or hours" in err


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="/dev/full")
async def test_a_rotation_that_cannot_be_printed_is_undone(database: tuple[str, ...]) -> None:
    id_ = (await make_key(database)).split("_")[2]
    before = await listed(database)
    full = os.open("/dev/full", os.O_WRONLY)
    process = await started("keys", "rotate", id_, *database, stdout=full)
    os.close(full)

    assert process.stderr is not None
    err = (await process.stderr.read()).decode()

    assert await process.wait() == 1
    assert re.search(rf"cannot write to standard output.*key {id_} has its previous secret again$", err.strip())
    assert await listed(database) == before
