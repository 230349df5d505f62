"""Messages for operators when the user of the database lacks a privilege."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import bson
import pytest

from contactsvc.embedded_names import READ_INDEX
from tests.integration.service_process import ended, launch
from tests.integration.stored import PERSONAL
from tests.operations.test_commands import as_process
from tests.robustness.faults.proxy import mongodb_message

_HEADER = 16
_OP_MSG = 2013


@asynccontextmanager
async def without_privilege(uri: str, command: str, database: str) -> AsyncIterator[str]:
    """Yield the URI of a proxy that refuses a command on a database as MongoDB does, with a message that quotes data.

    The embedded database has no roles. It reads lists by a command of its own, and MongoDB by `find`.
    """
    commands = {command, READ_INDEX} if command == "find" else {command}
    location = urlsplit(uri)
    connections: set[asyncio.Task[None]] = set()

    def refusal(request: bytes) -> bytes | None:
        if int.from_bytes(request[12:16], "little") != _OP_MSG:
            return None
        asked = bson.decode(request[21 : 21 + int.from_bytes(request[21:25], "little")])
        if next(iter(asked)) not in commands or asked["$db"] != database:
            return None
        refused = {"ok": 0.0, "errmsg": f"not authorized: {PERSONAL}", "code": 13, "codeName": "Unauthorized"}
        body = bytes(5) + bson.encode(refused)
        numbers = (_HEADER + len(body), 0, int.from_bytes(request[4:8], "little"), _OP_MSG)
        return b"".join(number.to_bytes(4, "little") for number in numbers) + body

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream_reader, upstream_writer = await asyncio.open_connection(location.hostname, location.port)
        try:
            while True:
                request, _ = await mongodb_message(reader)
                answer = refusal(request)
                if answer is None:
                    upstream_writer.write(request)
                    answer, _ = await mongodb_message(upstream_reader)
                writer.write(answer)
        except (asyncio.IncompleteReadError, OSError):
            pass
        finally:
            upstream_writer.close()
            writer.close()

    def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(serve(reader, writer))
        connections.add(task)
        task.add_done_callback(connections.discard)

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    try:
        port = server.sockets[0].getsockname()[1]
        yield location._replace(netloc=location.netloc.replace(f":{location.port}", f":{port}")).geturl()
    finally:
        server.close()
        for task in connections:
            task.cancel()
        await asyncio.gather(*connections, return_exceptions=True)


@pytest.fixture
async def used(embedded_uri: str) -> str:
    """Return the name prefix of databases that a service has used."""
    name = "contactsvc"
    process = await launch("--mongodb-uri", embedded_uri, "--database", name)
    assert process.stdout is not None
    assert b"listening" in await process.stdout.readline()
    process.terminate()
    assert (await ended(process))[0] == 0
    return name


SERVE = ("serve", "--listen", "127.0.0.1:0", "--workers", "1")
CREATE = ("keys", "create", "--name", "k", "--environment", "live", "--allow", "read")
EXPORT = ("export", "--environment", "live")

REFUSED = [
    pytest.param(SERVE, "createIndexes", "live", "create indexes", id="serve without createIndexes"),
    pytest.param(SERVE, "find", "test", "read the contact methods", id="serve without find"),
    pytest.param(SERVE, "delete", "live", "delete what has expired", id="serve without delete"),
    pytest.param(SERVE, "find", "keys", "read the API keys", id="serve without keys"),
    pytest.param(("keys", "list"), "find", "keys", "read the API keys", id="keys list"),
    pytest.param(CREATE, "insert", "keys", "write an API key", id="keys create"),
    pytest.param(("keys", "revoke", "x"), "update", "keys", "revoke an API key", id="keys revoke"),
    pytest.param(EXPORT, "find", "live", "read the contact methods", id="export"),
    pytest.param(("doctor",), "find", "live", "read the contact methods", id="doctor"),
    pytest.param(("doctor",), "find", "keys", "read the API keys", id="doctor without keys"),
]


@pytest.mark.parametrize(("arguments", "command", "which", "action"), REFUSED)
async def test_a_missing_privilege_is_named(
    embedded_uri: str, used: str, arguments: tuple[str, ...], command: str, which: str, action: str
) -> None:
    async with without_privilege(embedded_uri, command, f"{used}_{which}") as uri:
        code, out, err = await as_process(*arguments, "--mongodb-uri", uri, "--database", used)

    printed = out if arguments == ("doctor",) else err
    assert code == 1
    assert (
        f"the database refuses to {action} in {used}_{which} (13 Unauthorized); grant its user the role readWrite on "
        f"{used}_{which}" in printed
    )
    assert PERSONAL not in out + err
    assert "nothing wrong" not in out


async def test_doctor_inspects_the_databases_that_it_can_read(embedded_uri: str, used: str) -> None:
    async with without_privilege(embedded_uri, "find", f"{used}_live") as uri:
        _, out, _ = await as_process("doctor", "--json", "--mongodb-uri", uri, "--database", used)

    assert json.loads(out.splitlines()[-1])["contact_methods"] == {"test": 0}


async def test_an_import_without_write_privilege_is_refused(embedded_uri: str, used: str, tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    path.write_text(f"client_id,type,value\nc1,email,{PERSONAL}@example.com\n")

    async with without_privilege(embedded_uri, "insert", f"{used}_live") as uri:
        code, out, err = await as_process(
            *("import", str(path), "--environment", "live", "--mongodb-uri", uri, "--database", used)
        )

    assert code == 1
    assert f"the database refuses to read and write the contact methods in {used}_live (13 Unauthorized)" in err
    assert PERSONAL not in out + err
