"""No code, no plain digest of a code, and no secret is found where it does not belong."""

from __future__ import annotations

import asyncio
import re
import urllib.request
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import bson
import grpc
import pytest
from pymongo import AsyncMongoClient

from contactsvc.domain.verification import secrets_of_text
from contactsvc.v1 import contact_methods_pb2 as pb
from contactsvc.v1 import contact_methods_pb2_grpc as pb_grpc
from tests.hostile.leaks import digests_in, digests_of, secrets_in
from tests.integration.service_process import launch
from tests.verifier import other_than

# Six digits occur by chance, in times and counts; several codes do not.
RECORDS = 8
BY_CHANCE = 2
FILE_TEXT = "planted-verification-secret-0123456789"


@dataclass
class Evidence:
    """What calls and a service have left behind, by place.

    Attributes:
        places: the contents.
        codes: the codes, right and wrong, by the id of their record.
        request_ids: the request_ids of their checks, by the id of their record.
        secrets: the keys of the secrets.
    """

    places: dict[str, bytes] = field(default_factory=dict)
    codes: defaultdict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    request_ids: dict[str, list[str]] = field(default_factory=dict)
    secrets: list[bytes] = field(default_factory=list)

    def add(self, place: str, content: bytes) -> None:
        self.places[place] = self.places.get(place, b"") + content + b"\n"

    def parts(self) -> tuple[dict[str, bytes], dict[str, bytes]]:
        """Return the files of the database, and everything else."""
        files = {place: content for place, content in self.places.items() if place.startswith("file ")}
        return files, {place: content for place, content in self.places.items() if place not in files}


@asynccontextmanager
async def observed(directory: Path, evidence: Evidence, *flags: str) -> AsyncIterator[Any]:
    """Run a service that logs and traces all it can, yield a stub, and collect what it leaves behind."""
    database = directory / "data"
    process = await launch(
        *("--data-dir", str(database), "--log-level", "debug", "--tracing", "on", "--admin-listen", "127.0.0.1:0"),
        *flags,
        OTEL_TRACES_EXPORTER="console",
    )
    assert process.stdout is not None
    assert process.stderr is not None
    url = None
    while url is None:
        evidence.add("log and traces", line := await process.stderr.readline())
        assert line, evidence.places["log and traces"].decode()
        url = re.search(r"http\S+/metrics", line.decode())
    # Goes on while calls are made: a full pipe would hold the service up.
    log = asyncio.create_task(process.stderr.read())
    try:
        address = (await process.stdout.readline()).decode().split()[-1]
        async with grpc.aio.insecure_channel(address) as channel:
            yield pb_grpc.ContactMethodsServiceStub(channel)  # type: ignore[no-untyped-call]
        await keep_databases(evidence, (database / "database.uri").read_text())
        evidence.add("metrics", await asyncio.to_thread(metrics_at, url[0]))
    finally:
        if process.returncode is None:
            process.terminate()
        evidence.add("log and traces", await log)
        await process.wait()
    for path in database.rglob("*"):
        if path.is_file():
            evidence.add(f"file {path.name}", path.read_bytes())


def metrics_at(url: str) -> bytes:
    with urllib.request.urlopen(url) as page:  # noqa: S310 - our own service, on the loopback interface
        content: bytes = page.read()
        return content


async def keep_databases(evidence: Evidence, uri: str) -> None:
    """Keep the documents of all databases, the change log among them, and the secrets apart from it."""
    async with AsyncMongoClient[dict[str, Any]](uri) as client:
        for name in [*await client.list_database_names(), "local"]:
            for collection in {*await client[name].list_collection_names(), *(["oplog.rs"] if name == "local" else [])}:
                documents = await client[name][collection].find({}).to_list()
                if collection == "verification_secrets":
                    evidence.secrets += [document["key"] for document in documents]
                    continue
                for document in documents:
                    if "verification_secrets" not in repr(document):
                        evidence.add(f"{name}.{collection}", bson.encode(document) + repr(document).encode())


async def verify_a_lot(stub: Any, evidence: Evidence) -> None:
    """Make calls that carry codes in every way, with what becomes of each."""
    for number in range(RECORDS):
        record = await create(stub, number)
        start = pb.StartContactMethodVerificationRequest(id=record.id, request_id=f"start-{number}")
        code = (await stub.StartContactMethodVerification(start)).code
        wrong = other_than(code)
        evidence.codes[record.id] += [code, wrong]
        evidence.request_ids[record.id] = ["", f"wrong-{number}", f"right-{number}"]
        await stub.StartContactMethodVerification(start)
        for request_id, tried in [
            (f"wrong-{number}", wrong),
            (f"wrong-{number}", wrong),
            # Refused: the request_id of another code, and what is no code.
            (f"wrong-{number}", code),
            ("", f"{code}0"),
            ("", f"{code[:5]}x"),
            (f"right-{number}", code),
            ("", code),
            *[("", wrong)] * (5 if number % 2 else 1),
        ]:
            check = pb.CheckContactMethodVerificationRequest(id=record.id, code=tried, request_id=request_id)
            await keep_answer(evidence, stub.CheckContactMethodVerification(check))
        unknown = pb.CheckContactMethodVerificationRequest(id="contact_unknown", code=code)
        await keep_answer(evidence, stub.CheckContactMethodVerification(unknown))
        await keep_answer(evidence, stub.GetContactMethod(pb.GetContactMethodRequest(id=record.id)))
    await keep_answer(evidence, stub.ListContactMethods(pb.ListContactMethodsRequest()))


async def create(stub: Any, number: int) -> pb.ContactMethod:
    request = pb.CreateContactMethodRequest(
        client_id=f"client-{number}", type=pb.CONTACT_METHOD_TYPE_EMAIL, value=f"planted.{number}@example.com"
    )
    created: pb.CreateContactMethodResponse = await stub.CreateContactMethod(request)
    return created.contact_method


async def keep_answer(evidence: Evidence, call: Any) -> None:
    try:
        answer = await call
        evidence.add("answers", answer.SerializeToString() + str(answer).encode())
    except grpc.aio.AioRpcError as error:
        trailing = error.trailing_metadata()
        evidence.add("errors", f"{error.details()} {trailing!r}".encode())
        for _, value in trailing or ():
            evidence.add("errors", value.encode() if isinstance(value, str) else value)


def leaked(evidence: Evidence) -> list[str]:
    """Return where the codes or plain digests of them were found."""
    digests: dict[bytes, str] = {}
    for id_, codes in evidence.codes.items():
        for code in codes:
            digests |= digests_of(code, id_, evidence.request_ids[id_])
    found = list(digests_in(evidence.places, digests))
    for place, content in evidence.places.items():
        for kind in range(2):
            in_place = {id_ for id_, codes in evidence.codes.items() if codes[kind].encode() in content}
            if len(in_place) > BY_CHANCE:
                found.append(f"codes of {len(in_place)} records in {place}")
    return found


@pytest.mark.parametrize("from_file", [False, True], ids=["database", "file"])
async def test_codes_and_secrets_stay_where_they_belong(tmp_path: Path, from_file: bool) -> None:
    evidence, flags = Evidence(), list[str]()
    if from_file:
        file = tmp_path / "secret"
        file.write_text(FILE_TEXT)
        flags = ["--verification-secret-file", str(file)]

    async with observed(tmp_path, evidence, *flags) as stub:
        await verify_a_lot(stub, evidence)

    files, others = evidence.parts()
    # The search finds what is there.
    assert b"planted.0@example.com" in b"".join(files.values())
    assert b"client-0" in evidence.places["contactsvc_live.contact_methods"]
    assert {"errors", "answers", "metrics", "local.oplog.rs", "file database.log"} <= evidence.places.keys()
    assert b"CheckContactMethodVerification" in evidence.places["log and traces"]
    assert leaked(evidence) == []
    if from_file:
        assert evidence.secrets == []
        derived = [secrets_of_text(FILE_TEXT, name).current.key for name in ("live", "test")]
        assert list(secrets_in(evidence.places, [FILE_TEXT.encode(), *derived])) == []
    else:
        assert len(evidence.secrets) == 2
        assert list(secrets_in(others, evidence.secrets)) == []
        # The database has them.
        assert list(secrets_in(files, evidence.secrets))
