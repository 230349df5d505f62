from __future__ import annotations

import asyncio
import json
import os
import socket
import sys
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from contactsvc_client import AsyncContactsClient, ContactsError

from contactsvc import doctor, store
from contactsvc.domain.kinds import Environment
from contactsvc.store import COLLECTION, INDEXES, SCHEMA_VERSION, Collection, Document
from tests.conftest import serving
from tests.integration.service_process import ended, running_service
from tests.integration.stored import NOON, PERSONAL, document

# What phone numbers of these tests hold.
PERSONAL_DIGITS = "55557777"
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


@dataclass
class Examined:
    """What a run of doctor said."""

    code: int
    lines: list[dict[str, Any]]
    asked: list[str] = field(default_factory=list)

    @property
    def findings(self) -> list[tuple[str, str]]:
        """Severity and check of each finding, but for the note on the connection."""
        return [
            (line["severity"], line["check"])
            for line in self.lines
            if line["event"] == "finding" and line["check"] != "database"
        ]

    @property
    def wrong(self) -> list[dict[str, Any]]:
        return [line for line in self.lines if line["event"] == "finding" and line["severity"] == "wrong"]

    def of(self, event: str) -> list[dict[str, Any]]:
        return [line for line in self.lines if line["event"] == event]


@dataclass
class Patient:
    """A fresh database with sound contact methods, which tests make unsound."""

    uri: str
    name: str
    collection: Collection
    other: Collection

    async def examined(
        self, settings: dict[str, str] | None = None, *, fix: bool = False, yes: bool = True
    ) -> Examined:
        """Run doctor in JSON."""
        given = {"mongodb_uri": self.uri, "database": self.name, **(settings or {})}
        printed: list[str] = []
        asked: list[str] = []

        def confirm(question: str) -> bool:
            asked.append(question)
            return yes

        report = doctor.Report(printed.append, as_json=True)
        # In a thread: it runs event loops of its own.
        code = await asyncio.to_thread(doctor.run, given, {}, fix=fix, report=report, confirm=confirm)
        assert PERSONAL not in "".join(printed)
        assert PERSONAL_DIGITS not in "".join(printed)
        return Examined(code, [json.loads(line) for line in printed], asked)

    async def state(self) -> Any:
        """Return all there is in both environments."""
        return [
            (await one.find({}).sort("_id").to_list(length=None), await one.index_information())
            for one in (self.collection, self.other)
        ]

    async def insert(self, *documents: Document) -> None:
        await self.collection.insert_many(documents)

    async def get(self, id_: str) -> Document:
        found = await self.collection.find_one({"_id": id_})
        assert found is not None
        return found


def phone(id_: str, text: str, key: str | None, **fields: Any) -> Document:
    return document(id_, type="phone", value=text, value_key=key, **fields)


def memory(id_: str, forget_at: datetime) -> Document:
    request = {"id": f"request of {id_}", "digest": b"d", "at": forget_at - timedelta(days=1), "outcomes": []}
    return {
        "_id": id_,
        "request_ids": [request["id"]],
        "requests": [request],
        "forget_at": forget_at,
        "schema_version": SCHEMA_VERSION,
    }


@pytest.fixture(params=["motor", "pymongo"])
async def patient(request: pytest.FixtureRequest, embedded_uri: str) -> AsyncIterator[Patient]:
    deployment = await store.connect(embedded_uri, request.param)
    name = f"test_{uuid.uuid4().hex[:12]}"
    try:
        for environment in Environment:
            await deployment.open_store(f"{name}_{environment}")
        made = Patient(
            embedded_uri,
            name,
            deployment.driver.database(f"{name}_live")[COLLECTION],
            deployment.driver.database(f"{name}_test")[COLLECTION],
        )
        await made.insert(
            document("sound", is_primary=True, verified_at=NOON, external_id="crm-1", label="Home"),
            document(
                "sound_phone", type="phone", value=f"+52 {PERSONAL_DIGITS}99", value_key=f"phone:+52{PERSONAL_DIGITS}99"
            ),
            memory("remembering", datetime.now(UTC) + timedelta(hours=1)),
        )
        await made.other.insert_one(document("sound_too", is_primary=True))
        yield made
    finally:
        await deployment.close()


async def double_primary(patient: Patient) -> None:
    await patient.collection.drop_index("primary_slot")
    await patient.insert(
        document("older", client_id="client_2", is_primary=True, created_at=LONG_AGO),
        document("verified", client_id="client_2", is_primary=True, verified_at=NOON),
        document("newer", client_id="client_2", is_primary=True),
        # Of another type, and so no rival.
        phone(
            "phone", f"+52 {PERSONAL_DIGITS}00", f"phone:+52{PERSONAL_DIGITS}00", client_id="client_2", is_primary=True
        ),
    )


async def shared_external_id(patient: Patient) -> None:
    await patient.collection.drop_index("external_id")
    await patient.insert(document("one", external_id="crm-2"), document("two", external_id="crm-2"))


async def shared_request(patient: Patient) -> None:
    await patient.collection.drop_index("request")
    later = datetime.now(UTC) + timedelta(hours=1)
    twin = {**memory("first", later), "_id": "second"}
    await patient.insert(memory("first", later), twin)


async def stale_value(patient: Patient) -> None:
    # Before libraries knew that the 1 of old Mexican mobiles is gone.
    await patient.insert(
        phone("stale", f"+52 1 {PERSONAL_DIGITS}01", f"phone:+521{PERSONAL_DIGITS}01", verified_at=NOON),
    )


async def key_of_another_type(patient: Patient) -> None:
    await patient.insert(phone("stale", f"+52 {PERSONAL_DIGITS}01", f"fax:+52{PERSONAL_DIGITS}01"))


async def missing_key(patient: Patient) -> None:
    await patient.insert(document("stale", value_key=None))


async def missing_index(patient: Patient) -> None:
    await patient.collection.drop_index("value")


async def other_index(patient: Patient) -> None:
    await patient.collection.drop_index("primary_slot")
    await patient.collection.create_index([("client_id", 1), ("type", 1), ("is_primary", 1)], name="primary_slot")


async def renamed_index(patient: Patient) -> None:
    await patient.collection.drop_index("metadata")
    await patient.collection.create_index([("metadata", 1), ("client_id", 1)], name="by_metadata")


async def unknown_layout(patient: Patient) -> None:
    await patient.insert(document("future", schema_version=99, metadata=None))


async def earlier_layout(patient: Patient) -> None:
    await patient.insert(
        document("early", client_id="client_2", is_primary=True, primary_key=None, schema_version=1),
        # The kind that has the key already, and a memory of requests.
        document("late", client_id="client_3", is_primary=True, schema_version=1.0),
        {**memory("remembering_early", datetime.now(UTC) + timedelta(hours=1)), "schema_version": 1},
    )


async def missing_field(patient: Patient) -> None:
    await patient.insert(document("broken", updated_at=None, metadata=None))


async def odd_field(patient: Patient) -> None:
    await patient.insert(document("broken", created_at="yesterday", metadata={"a": "b"}))


async def unknown_type(patient: Patient) -> None:
    await patient.insert(document("broken", type="pigeon"))


async def no_contact_method(patient: Patient) -> None:
    await patient.insert(document("broken", client_id=None))


async def expired_memory(patient: Patient) -> None:
    await patient.insert(memory("forgotten", LONG_AGO))


Plant = Callable[[Patient], Awaitable[None]]

# What is planted, what is found, and which of it a machine can mend.
MENDABLE = [
    pytest.param(double_primary, [("wrong", "primary"), ("wrong", "index")], 1, id="double primary"),
    pytest.param(stale_value, [("wrong", "value")], 1, id="stale value"),
    pytest.param(key_of_another_type, [("wrong", "value")], 1, id="key of another type"),
    pytest.param(missing_key, [("wrong", "value")], 1, id="missing key"),
    pytest.param(missing_index, [("wrong", "index")], 1, id="missing index"),
    pytest.param(earlier_layout, [("warning", "layout")], 0, id="earlier layout"),
    pytest.param(expired_memory, [("note", "memory")], 0, id="expired memory"),
]
NOT_MENDABLE = [
    pytest.param(shared_external_id, [("wrong", "external_id"), ("wrong", "index")], id="shared external id"),
    pytest.param(shared_request, [("wrong", "request"), ("wrong", "index")], id="shared request"),
    pytest.param(other_index, [("wrong", "index")], id="other index"),
    pytest.param(renamed_index, [("wrong", "index")], id="renamed index"),
    pytest.param(unknown_layout, [("wrong", "document")], id="unknown layout"),
    pytest.param(missing_field, [("wrong", "document")], id="missing field"),
    pytest.param(odd_field, [("wrong", "document")], id="field of another kind"),
    pytest.param(unknown_type, [("wrong", "document")], id="unknown type"),
    pytest.param(no_contact_method, [("wrong", "document")], id="no contact method"),
]


async def test_sound_data_is_left_in_peace(patient: Patient) -> None:
    examined = await patient.examined(fix=True)

    assert (examined.code, examined.findings, examined.asked) == (0, [], [])
    assert examined.lines[-1] == {
        "event": "summary",
        "wrong": 0,
        "warning": 0,
        "note": 1,
        "mendable": 0,
        "contact_methods": {"live": 2, "test": 1},
    }


@pytest.mark.parametrize(("plant", "findings", "code"), MENDABLE)
async def test_what_can_be_mended_is_found_then_mended(
    patient: Patient, plant: Plant, findings: list[tuple[str, str]], code: int
) -> None:
    await plant(patient)
    before = await patient.state()

    found = await patient.examined()

    assert (found.code, found.findings) == (code, findings)
    assert found.lines[-1]["mendable"] == len(findings)
    assert await patient.state() == before

    refused = await patient.examined(fix=True, yes=False)

    assert (refused.code, len(refused.asked)) == (code, 1)
    assert refused.of("plan")
    assert await patient.state() == before

    mended = await patient.examined(fix=True)

    assert mended.code == 0
    assert len(mended.of("mended")) == len(mended.of("plan")) > 0
    assert mended.of("skipped") == []
    again = await patient.examined()
    assert (again.code, again.findings) == (0, [])
    # The other environment was never touched.
    assert (await patient.state())[1] == before[1]


@pytest.mark.parametrize(("plant", "findings"), NOT_MENDABLE)
async def test_what_cannot_be_mended_is_found_and_left_alone(
    patient: Patient, plant: Plant, findings: list[tuple[str, str]]
) -> None:
    await plant(patient)
    before = await patient.state()

    examined = await patient.examined(fix=True)

    assert (examined.code, examined.findings, examined.lines[-1]["mendable"]) == (1, findings, 0)
    assert await patient.state() == before


async def test_the_verified_primary_stays_and_the_others_are_demoted(patient: Patient) -> None:
    await double_primary(patient)
    before = {id_: await patient.get(id_) for id_ in ("older", "verified", "newer", "phone")}

    found = await patient.examined(fix=True)

    finding = found.wrong[0]
    assert (finding["client_id"], set(finding["ids"])) == ("client_2", {"older", "verified", "newer"})
    after = {id_: await patient.get(id_) for id_ in before}
    assert (after["verified"], after["phone"]) == (before["verified"], before["phone"])
    for id_ in ("older", "newer"):
        assert not after[id_]["is_primary"]
        assert after[id_]["etag"] != before[id_]["etag"]
        assert after[id_]["updated_at"] > NOON
        assert after[id_].keys() == before[id_].keys() - {"primary_key"}


async def test_a_stale_value_gets_its_normal_form_and_loses_its_verification(patient: Patient) -> None:
    await stale_value(patient)

    await patient.examined(fix=True)

    after = await patient.get("stale")
    assert after["value_key"] == f"phone:+52{PERSONAL_DIGITS}01"
    assert "verified_at" not in after
    assert after["etag"] != "etag of stale"
    assert after["updated_at"] > NOON
    assert after["metadata"] == ["source=crm"]


async def test_a_record_with_two_faults_is_mended_at_once(patient: Patient) -> None:
    await patient.collection.drop_index("primary_slot")
    for id_, since in (("a", LONG_AGO), ("b", NOON)):
        await patient.insert(
            document(id_, client_id="client_2", is_primary=True, value_key="email:x", created_at=since)
        )

    examined = await patient.examined(fix=True)

    assert (examined.code, examined.of("skipped")) == (0, [])
    assert ((await patient.get("a"))["is_primary"], (await patient.get("b"))["is_primary"]) == (True, False)


@pytest.mark.parametrize("changed", ["verified", "older"])
async def test_what_somebody_changes_before_the_plan_is_carried_out_stays(patient: Patient, changed: str) -> None:
    await double_primary(patient)
    await patient.collection.delete_one({"_id": "newer"})
    loop = asyncio.get_running_loop()
    printed: list[str] = []

    async def change() -> None:
        await patient.collection.update_one(
            {"_id": changed}, {"$set": {"is_primary": False, "etag": "theirs"}, "$unset": {"primary_key": ""}}
        )

    def confirm(question: str) -> bool:
        # Between the look and the change: somebody else takes the flag away, from the one that was to stay or not.
        asyncio.run_coroutine_threadsafe(change(), loop).result()
        return True

    report = doctor.Report(printed.append, as_json=True)
    given = {"mongodb_uri": patient.uri, "database": patient.name}
    code = await asyncio.to_thread(doctor.run, given, {}, fix=True, report=report, confirm=confirm)

    assert code == 0
    assert [json.loads(line)["target"] for line in printed if '"skipped"' in line] == ["older"]
    assert (await patient.get(changed))["etag"] == "theirs"
    other = {"verified": "older", "older": "verified"}[changed]
    assert (await patient.get(other))["is_primary"]


async def test_doubles_that_are_unsound_themselves_are_not_chosen_among(patient: Patient) -> None:
    await patient.collection.drop_index("primary_slot")
    await patient.insert(
        document("a", client_id="client_2", is_primary=True, created_at=None),
        document("b", client_id="client_2", is_primary=True),
    )
    before = await patient.state()

    examined = await patient.examined(fix=True)

    assert examined.findings == [("wrong", "primary"), ("wrong", "index"), ("wrong", "document")]
    assert (examined.code, examined.lines[-1]["mendable"]) == (1, 0)
    assert await patient.state() == before


@pytest.mark.parametrize(
    ("settings", "findings", "code", "mendable"),
    [
        ({"default_region": "MX"}, [], 0, 0),
        ({"value_validation": "lenient"}, [("wrong", "value")], 1, 1),
        ({}, [("wrong", "value")], 1, 0),
        # There the number is no longer what it was.
        ({"default_region": "FR"}, [("wrong", "value")], 1, 0),
    ],
)
async def test_values_are_read_by_the_rules_of_the_settings(
    patient: Patient, settings: dict[str, str], findings: list[tuple[str, str]], code: int, mendable: int
) -> None:
    await patient.insert(phone("national", f"{PERSONAL_DIGITS}01", f"phone:+52{PERSONAL_DIGITS}01"))

    examined = await patient.examined(settings)

    assert (examined.code, examined.findings, examined.lines[-1]["mendable"]) == (code, findings, mendable)


async def test_lenient_rules_drop_a_normal_form_that_cannot_be_read(patient: Patient) -> None:
    await patient.insert(phone("national", f"{PERSONAL_DIGITS}01", f"phone:+52{PERSONAL_DIGITS}01"))

    examined = await patient.examined({"value_validation": "lenient"}, fix=True)

    assert examined.code == 0
    assert "value_key" not in await patient.get("national")


@pytest.mark.parametrize(("validation", "findings"), [("lenient", []), ("strict", [("note", "value")])])
async def test_values_that_lenient_rules_have_let_in_are_no_fault(
    patient: Patient, validation: str, findings: list[tuple[str, str]]
) -> None:
    await patient.insert(phone("odd", f"ask {PERSONAL}", None))

    examined = await patient.examined({"value_validation": validation})

    assert (examined.code, examined.findings) == (0, findings)


async def test_a_database_that_no_service_has_used_is_not_made(patient: Patient) -> None:
    name = f"test_{uuid.uuid4().hex[:12]}"

    examined = await patient.examined({"database": name}, fix=True)

    assert examined.code == 0
    assert examined.lines[-1]["warning"] == 2
    deployment = await store.connect(patient.uri, "pymongo")
    try:
        assert await deployment.driver.database(f"{name}_live").list_collection_names() == []
    finally:
        await deployment.close()


async def test_every_index_of_the_service_is_looked_for(patient: Patient) -> None:
    for index in INDEXES:
        await patient.collection.drop_index(index.name)

    examined = await patient.examined()

    assert len(examined.wrong) == len(INDEXES)
    assert all(
        f"index {index.name} is missing" in line["message"] for index, line in zip(INDEXES, examined.wrong, strict=True)
    )


async def test_many_findings_are_a_line_each(patient: Patient) -> None:
    # More than one batch of a cursor.
    await patient.insert(*(document(f"stale_{i:04}", value_key="email:x") for i in range(1_100)))

    examined = await patient.examined()

    assert len(examined.wrong) == examined.lines[-1]["wrong"] == 1_100


async def run_doctor(*flags: str, answer: str = "", **environ: str) -> tuple[int, str, str]:
    """Run the command as an operator does."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("CONTACTSVC_")}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "contactsvc", "doctor", *flags),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**clean, **environ},
    )
    assert process.stdin is not None
    process.stdin.write(answer.encode())
    process.stdin.close()
    return await ended(process)


async def test_it_works_with_and_without_a_running_service(tmp_path: Path) -> None:
    async with running_service(tmp_path) as service:
        async with AsyncContactsClient(service.address) as sdk:
            await sdk.contact_methods.create(client_id="c1", type="email", value=f"{PERSONAL}@example.com")
        beside = await run_doctor("--data-dir", str(tmp_path))
        async with AsyncContactsClient(service.address) as sdk:
            assert len((await sdk.contact_methods.list_by_client("c1")).data) == 1
        await service.stopped()
    alone = await run_doctor(CONTACTSVC_DATA_DIR=str(tmp_path))

    assert beside == alone
    code, out, err = alone
    assert (code, err) == (0, "")
    assert "nothing wrong, 1 note; contact methods examined: 1 in live, 0 in test" in out
    assert PERSONAL not in out
    # And the service starts again.
    async with running_service(tmp_path):
        pass


@pytest.mark.parametrize(
    ("flags", "answer", "mended"), [(["--yes"], "", True), ([], "y\n", True), ([], "n\n", False), ([], "", False)]
)
async def test_a_fix_has_to_be_confirmed(patient: Patient, flags: list[str], answer: str, mended: bool) -> None:
    await stale_value(patient)
    flags = ["--mongodb-uri", patient.uri, "--database", patient.name, "--fix", *flags]

    code, out, _ = await run_doctor(*flags, answer=answer)

    assert code == (0 if mended else 1)
    assert "plan     live: write the normalized value of stale anew" in out
    assert ("mended   live: write the normalized value of stale anew" in out) is mended
    assert ("nothing was changed" in out) is not mended
    assert ((await patient.get("stale"))["etag"] == "etag of stale") is not mended
    assert PERSONAL_DIGITS not in out


async def test_bad_settings_end_with_exit_code_2_and_all_of_them() -> None:
    code, out, _ = await run_doctor("--driver", "odbc", CONTACTSVC_DEFAULT_REGION="ZZ")

    assert code == 2
    assert "--driver" in out
    assert "CONTACTSVC_DEFAULT_REGION" in out


@pytest.mark.parametrize(
    ("environ", "hint"),
    [
        ({"CONTACTSVC_LISTEN": "0.0.0.0:50051"}, "--dangerously-serve-without-tls"),
        ({"CONTACTSVC_TLS_CERT": "/nowhere/a", "CONTACTSVC_TLS_KEY": "/nowhere/b"}, "cannot read /nowhere/a"),
    ],
)
async def test_settings_that_the_service_would_refuse_are_bad_configuration(environ: dict[str, str], hint: str) -> None:
    code, out, _ = await run_doctor(**environ)

    assert code == 2
    assert hint in out


async def test_a_network_that_would_be_served_without_keys_is_a_finding(patient: Patient) -> None:
    open_to_all = {"listen": "0.0.0.0:0", "dangerously_serve_without_tls": "true"}

    refused = await patient.examined(open_to_all)
    meant = await patient.examined({**open_to_all, "dangerously_serve_without_keys": "true"})

    assert refused.code == 1
    assert any("--dangerously-serve-without-keys" in line.get("message", "") for line in refused.lines)
    assert not any("--dangerously-serve-without-keys" in line.get("message", "") for line in meant.lines)


async def test_a_uri_that_is_none_is_bad_configuration_and_not_repeated() -> None:
    code, out, err = await run_doctor(CONTACTSVC_MONGODB_URI="mongodb://user:hunter2@host:notaport/")

    assert code == 2
    assert "hunter2" not in out + err


async def test_an_unreachable_database_is_a_finding() -> None:
    with socket.socket() as nobody:
        # Bound and not listening, so that nobody else answers there.
        nobody.bind(("127.0.0.1", 0))
        uri = f"mongodb://user:hunter2@127.0.0.1:{nobody.getsockname()[1]}/?serverSelectionTimeoutMS=100"
        code, out, err = await run_doctor("--json", CONTACTSVC_MONGODB_URI=uri)

    finding, summary = map(json.loads, out.splitlines())
    assert code == 1
    assert (finding["check"], summary["wrong"]) == ("database", 1)
    assert "does not answer" in finding["message"]
    assert "hunter2" not in out + err


async def test_a_directory_without_a_database_is_left_as_it_is(tmp_path: Path) -> None:
    for directory in (tmp_path / "absent", tmp_path):
        code, out, _ = await run_doctor("--data-dir", str(directory))

        assert code == 1
        assert f"there is no embedded database in {directory}" in out
    assert os.listdir(tmp_path) == []


async def test_a_standalone_server_is_a_warning(tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    (tmp_path / "secantusd.toml").touch()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", "from secantus.cli import main; main()", "--standalone", "--log-level", "ERROR"),
        *("--host", "127.0.0.1", "--port", str(port)),
        *("--storage-path", str(tmp_path / "data"), "--config", str(tmp_path / "secantusd.toml")),
    )
    try:
        uri = f"mongodb://127.0.0.1:{port}/?directConnection=true&serverSelectionTimeoutMS=30000"
        code, out, err = await run_doctor("--mongodb-uri", uri)
    finally:
        process.terminate()
        await process.wait()

    assert (code, err) == (0, "")
    assert "warning  this is a standalone server" in out


async def test_a_primary_that_is_not_found_as_one_is_mended(patient: Patient) -> None:
    await patient.insert(
        document("lost", client_id="client_2", is_primary=True, primary_key=None),
        document("false", client_id="client_3", primary_key="email:client_3"),
    )

    found = await patient.examined()
    await patient.examined(fix=True)
    again = await patient.examined()

    assert {tuple(finding["ids"]) for finding in found.wrong} == {("lost",), ("false",)}
    assert (await patient.get("lost"))["primary_key"] == "email:client_2"
    assert "primary_key" not in await patient.get("false")
    assert not again.wrong


# What a hand may have made of a sound document, and what doctor says of it. None is null here.
HAND_MADE: list[tuple[Document, list[tuple[str, str]]]] = [
    ({"label": None}, []),
    ({"external_id": None}, []),
    ({"verified_at": None}, []),
    ({"requests": None}, []),
    ({"primary_key": None}, []),
    ({"metadata": {}}, []),
    ({"schema_version": None}, [("warning", "layout")]),
    ({"schema_version": "two"}, [("warning", "layout")]),
    ({"schema_version": 0}, [("warning", "layout")]),
    ({"schema_version": float(SCHEMA_VERSION)}, []),
    ({"value_key": None}, [("wrong", "value")]),
    ({"value_key": "nocolon"}, [("wrong", "value")]),
    ({"primary_key": 5}, [("wrong", "primary")]),
    ({"schema_version": SCHEMA_VERSION + 1}, [("wrong", "document")]),
    *(
        (fields, [("wrong", "document")])
        for fields in (
            {"client_id": None},
            {"client_id": 7},
            {"type": "pigeon"},
            {"type": ["email"]},
            {"value": None},
            {"value_key": 5},
            {"label": 5},
            {"is_primary": None},
            {"is_primary": 1},
            {"external_id": ["crm"]},
            {"verified_at": "noon"},
            {"created_at": "noon"},
            {"updated_at": None},
            {"etag": 5},
            {"metadata": None},
            {"metadata": "a=b"},
            {"metadata": {"a": "b"}},
            {"metadata": [PERSONAL]},
            {"metadata": ["a=b", 7]},
            {"requests": 5},
            {"requests": [{"id": "x"}]},
            {"requests": [{"id": "x", "digest": b"d", "at": "noon", "outcomes": []}]},
            {"requests": [{"id": "x", "digest": b"d", "at": NOON, "outcomes": [{"action": "flown", "id": "x"}]}]},
            {
                "requests": [
                    {
                        "id": "x",
                        "digest": b"d",
                        "at": NOON,
                        "outcomes": [{"reason": PERSONAL, "message": "", "violations": [], "metadata": {}}],
                    }
                ]
            },
        )
    ),
]


@pytest.mark.parametrize(("fields", "findings"), HAND_MADE, ids=lambda given: repr(given)[:60])
async def test_the_service_fails_on_those_documents_that_doctor_calls_wrong(
    patient: Patient, fields: Document, findings: list[tuple[str, str]]
) -> None:
    await patient.insert({**document("hand_made"), **fields})
    deployment = await store.connect(patient.uri, "pymongo")
    try:
        stores = {Environment.LIVE: deployment.existing_store(f"{patient.name}_live")}
        async with serving(stores) as api, AsyncContactsClient(api.target) as sdk:
            try:
                await sdk.contact_methods.retrieve("hand_made")
                reason: str | None = ""
            except ContactsError as error:
                reason = error.reason
    finally:
        await deployment.close()

    examined = await patient.examined()

    assert examined.findings == findings
    assert reason == ("INTERNAL" if ("wrong", "document") in findings else "")


async def test_a_memory_that_cannot_be_read_is_found(patient: Patient) -> None:
    later = datetime.now(UTC) + timedelta(hours=1)
    await patient.insert(
        {**memory("garbled", later), "requests": [{"id": "x"}]}, {**memory("lasting", later), "forget_at": "soon"}
    )

    examined = await patient.examined()

    assert [(line["check"], line["ids"]) for line in examined.wrong] == [
        ("document", ["garbled"]),
        ("document", ["lasting"]),
    ]
    assert all("remembers" in line["message"] for line in examined.wrong)
