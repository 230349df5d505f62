"""Who may use the embedded database and its files."""

from __future__ import annotations

import os
import stat
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from pymongo import AsyncMongoClient
from pymongo.errors import OperationFailure

from contactsvc import store
from contactsvc.errors import StartupError
from contactsvc.runtime import embedded

Client = AsyncMongoClient[dict[str, Any]]
Command = Callable[[Client], Awaitable[Any]]

COMMANDS: dict[str, Command] = {
    "read": lambda client: client["contactsvc_live"]["contact_methods"].find_one(),
    "write": lambda client: client["contactsvc_keys"]["api_keys"].insert_one({}),
    "delete": lambda client: client["contactsvc_live"]["contact_methods"].delete_many({}),
    "read the change log": lambda client: client["local"]["oplog.rs"].find_one(),
    "prune the change log": lambda client: client["admin"].command("secantusAdmin.pruneOplog"),
    "copy the database": lambda client: client["admin"].command("secantusAdmin.backupArchive", outputPath="/tmp/x"),  # noqa: S108 - refused
    "add a user": lambda client: client["admin"].command("createUser", "x", pwd="x", roles=["root"]),
    "list the databases": lambda client: client.list_database_names(),
}
PASSWORDS = {"no password": "", "a wrong password": "contactsvc:wrong@"}


@pytest.fixture(scope="module")
async def address(tmp_path_factory: pytest.TempPathFactory) -> Any:
    async with embedded.running(tmp_path_factory.mktemp("locked")) as database:
        yield database.address


@pytest.mark.parametrize("credentials", PASSWORDS.values(), ids=PASSWORDS.keys())
@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS.keys())
async def test_without_the_password_nothing_can_be_done(address: str, command: Command, credentials: str) -> None:
    async with AsyncMongoClient[dict[str, Any]](f"mongodb://{credentials}{address}/?directConnection=true") as client:
        with pytest.raises(OperationFailure) as failure:
            await command(client)

    # Unauthorized, AuthenticationFailed
    assert failure.value.code == (18 if credentials else 13)


@pytest.mark.parametrize("driver", ["motor", "pymongo"])
async def test_the_password_stays_private_and_the_same(tmp_path: Path, driver: str) -> None:
    path = tmp_path / "database.password"
    async with embedded.running(tmp_path) as first:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert len(first.password) > 40
        assert first.password not in repr(first)
    async with embedded.running(tmp_path) as second:
        await (await store.connect(second.uri, driver)).close()

    assert second.password == first.password


async def test_a_database_from_before_passwords_gets_one_and_keeps_its_data(tmp_path: Path) -> None:
    async with embedded.running(tmp_path) as database, AsyncMongoClient[dict[str, Any]](database.uri) as client:
        await client["any"]["records"].insert_one({"_id": 1})
    (tmp_path / "database.password").unlink()

    async with embedded.running(tmp_path) as database, AsyncMongoClient[dict[str, Any]](database.uri) as client:
        assert await client["any"]["records"].count_documents({}) == 1


async def test_the_password_is_neither_an_argument_nor_logged(tmp_path: Path) -> None:
    async with embedded.running(tmp_path) as database:
        commands = [
            path.read_bytes() for pid in os.listdir("/proc") if pid.isdigit() for path in [Path(f"/proc/{pid}/cmdline")]
        ]

    assert not any(database.password.encode() in command for command in commands)
    assert database.password not in (tmp_path / "database.log").read_text()


def everything_in(directory: Path) -> list[Path]:
    return [directory, *directory.rglob("*")]


@pytest.fixture
def shared_path(tmp_path: Path) -> Path:
    """Return a directory that all users may use."""
    tmp_path.chmod(0o777)
    return tmp_path


async def test_a_data_directory_that_others_may_use_is_made_private(tmp_path: Path) -> None:
    async with embedded.running(tmp_path):
        pass
    for path in everything_in(tmp_path):
        path.chmod(0o755 if path.is_dir() else 0o644)

    async with embedded.running(tmp_path):
        assert [path.name for path in everything_in(tmp_path) if path.stat().st_mode & 0o077] == []


async def test_a_directory_of_other_things_is_left_as_it_is(shared_path: Path) -> None:
    letter = shared_path / "letter.txt"
    letter.touch()

    with pytest.raises(StartupError, match=r"holds other files too: choose another --data-dir, or chmod 700 it"):
        async with embedded.running(shared_path):
            pass

    assert everything_in(shared_path) == [shared_path, letter]
    assert stat.S_IMODE(shared_path.stat().st_mode) == 0o777  # noqa: ASYNC240 - nothing else runs in this loop


async def test_a_directory_that_cannot_be_made_private_is_refused(
    shared_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def chmod(*_: object, **__: object) -> None:
        raise PermissionError

    # Of another user; root could change it all the same.
    monkeypatch.setattr(Path, "chmod", chmod)
    with pytest.raises(StartupError, match="have its owner chmod 700 it, or choose another --data-dir"):
        async with embedded.running(shared_path):
            pass
