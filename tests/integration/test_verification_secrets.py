"""Rotation of the secrets that verification codes are derived from, on several replicas of one database."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest

from contactsvc.domain.kinds import Environment
from contactsvc.errors import ConfigurationError
from contactsvc.runtime.secrets import SecretRing
from contactsvc.store import Deployment, Document
from contactsvc.store.deployment import SECRET_COLLECTION
from contactsvc.v1 import contact_methods_pb2 as pb
from tests.conftest import Api, failure_of, serving
from tests.integration.transfer_world import World
from tests.verifier import NUMBER, PHONE, VERIFIED, WRONG_CODE, Clock, Verifier, other_than

LINES = ["a" * 32, "b" * 32, "c" * 32]


@dataclass(frozen=True)
class Replica:
    """A service on a database that others use as well, and its reading of the secrets."""

    secrets: SecretRing
    calls: Verifier

    @property
    def api(self) -> Api:
        """Its server."""
        return self.calls.api


@dataclass(frozen=True)
class Replicas:
    """Two services on one database, by one clock."""

    deployment: Deployment
    name: str
    clock: Clock
    one: Replica
    other: Replica

    async def rotate(self) -> None:
        """Rotate the secret of the environment that callers without a key use."""
        await self.deployment.secret_store(f"{self.name}_keys").rotate(Environment.LIVE, self.clock())

    async def pass_by(self, **time: float) -> None:
        """Let time go by, at the end of which both services have read the secrets."""
        self.clock.forward(**time)
        await self.one.secrets.read()
        await self.other.secrets.read()

    async def stored_secrets(self) -> list[str]:
        """Return the ids of the stored secrets of the live environment."""
        collection = self.deployment.driver.database(f"{self.name}_keys")[SECRET_COLLECTION]
        found: list[Document] = await collection.find({"environment": "live"}).to_list(length=None)
        return sorted(document["_id"] for document in found)


async def started(stack: AsyncExitStack, deployment: Deployment, file: Path | None = None) -> Replicas:
    """Start two services."""
    name, clock = World.new_name(), Clock()
    replicas = []
    for _ in range(2):
        ring = SecretRing(deployment.secret_store(f"{name}_keys"), file, clock=clock)
        await ring.read()
        stores = {environment: await deployment.open_store(f"{name}_{environment}") for environment in Environment}
        secrets = {environment: ring.of(environment) for environment in Environment}
        api = await stack.enter_async_context(serving(stores, clock=clock, secrets=secrets))
        replicas.append(Replica(ring, Verifier(api, clock)))
    return Replicas(deployment, name, clock, *replicas)


@pytest.fixture
async def replicas(deployment: Deployment) -> AsyncIterator[Replicas]:
    async with AsyncExitStack() as stack:
        yield await started(stack, deployment)


async def test_a_code_from_before_a_rotation_is_right_on_every_replica_after_it(replicas: Replicas) -> None:
    one, other = replicas.one, replicas.other
    records = [await one.api.create() for _ in range(2)]
    before = [await one.calls.start(record) for record in records]
    await replicas.rotate()
    await replicas.pass_by(minutes=2)
    resent = await other.calls.start(records[1])
    new = await one.api.create()
    after = await one.calls.start(new)

    assert resent.code == before[1].code
    assert (await other.calls.check(records[0], before[0].code)).result == VERIFIED
    assert (await one.calls.check(records[1], other_than(before[1].code))).result == WRONG_CODE
    assert (await one.calls.check(records[1], before[1].code)).result == VERIFIED
    assert (await other.calls.check(new, after.code)).result == VERIFIED
    assert await replicas.stored_secrets() == ["live-1", "live-2"]


async def test_a_replica_that_has_not_read_the_new_secret_still_checks_all_codes(replicas: Replicas) -> None:
    one, other = replicas.one, replicas.other
    record = await one.api.create()
    await replicas.rotate()
    replicas.clock.forward(seconds=30)
    await one.secrets.read()
    code = (await one.calls.start(record)).code

    assert (await other.calls.check(record, code)).result == VERIFIED


async def test_a_replica_that_uses_the_new_secret_earlier_is_understood(replicas: Replicas) -> None:
    one, other = replicas.one, replicas.other
    record = await one.api.create()
    await replicas.rotate()
    await replicas.pass_by(seconds=46)
    replicas.clock.forward(seconds=14)
    await one.secrets.read()
    code = (await one.calls.start(record)).code

    assert (await other.calls.check(record, code)).result == VERIFIED


async def test_after_its_last_use_a_secret_is_kept_for_a_day_and_then_deleted(replicas: Replicas) -> None:
    one = replicas.one
    record = await one.api.create()
    old = await one.calls.start(record)
    await replicas.rotate()
    await replicas.pass_by(minutes=31)
    expired = await failure_of(one.calls.check(record, old.code))
    await replicas.pass_by(hours=24)
    kept = await replicas.stored_secrets()
    await replicas.pass_by(hours=1)
    renewed = await one.calls.start(record)

    assert expired.reason == "VERIFICATION_NOT_STARTED"
    assert kept == ["live-1", "live-2"]
    assert await replicas.stored_secrets() == ["live-2"]
    assert renewed.code != old.code
    assert (await replicas.other.calls.check(record, renewed.code)).result == VERIFIED
    await replicas.rotate()
    assert await replicas.stored_secrets() == ["live-2", "live-3"]


async def test_rotations_in_quick_succession_keep_every_code(replicas: Replicas) -> None:
    codes = {}
    for _ in range(3):
        record = await replicas.one.api.create()
        codes[record.id] = record, (await replicas.one.calls.start(record)).code
        await replicas.rotate()
        await replicas.pass_by(minutes=1)

    for record, code in codes.values():
        assert (await replicas.other.calls.check(record, code)).result == VERIFIED


async def test_a_request_is_recognized_across_a_rotation(replicas: Replicas) -> None:
    one, other = replicas.one, replicas.other
    record = await one.api.create()
    code = (await one.calls.start(record)).code
    wrong = await one.calls.check(record, other_than(code), request_id="wrong")
    right = await one.calls.check(record, code, request_id="right")
    await replicas.rotate()
    await replicas.pass_by(minutes=2)

    assert await other.calls.check(record, code, request_id="right") == right
    repeated = await one.calls.check(record, other_than(code), request_id="wrong")
    assert (repeated.result, repeated.attempts_left) == (WRONG_CODE, wrong.attempts_left)
    reused = await failure_of(one.calls.check(record, other_than(code), request_id="right"))
    assert reused.reason == "REQUEST_ID_REUSED"
    await replicas.pass_by(hours=23)
    assert (await one.calls.check(record, code, request_id="right")).result == VERIFIED


async def test_the_daily_limits_hold_across_rotations(replicas: Replicas) -> None:
    one, other = replicas.one, replicas.other
    records = [await one.api.create(value=NUMBER, type=PHONE, client_id=f"client_{i}") for i in range(12)]
    for record in records[:4]:
        await one.calls.start(record)
    await replicas.rotate()
    await replicas.pass_by(minutes=2)
    for record in records[4:8]:
        await other.calls.start(record)
    await replicas.rotate()
    await replicas.pass_by(minutes=2)
    for record in records[8:10]:
        await one.calls.start(record)

    for replica in (one, other):
        refused = await failure_of(replica.calls.start(records[10]))
        assert (refused.reason, refused.metadata["limit"]) == ("VERIFICATION_LIMIT", "value_day")


async def test_an_erased_client_starts_its_day_anew_also_after_a_rotation(replicas: Replicas) -> None:
    api = replicas.one.api
    for _ in range(2):
        records = [await api.create(client_id="busy") for _ in range(20)]
        for record in records:
            await replicas.one.calls.start(record)
        await replicas.rotate()
        await replicas.pass_by(minutes=2)
        assert (await failure_of(replicas.one.calls.start(records[0]))).metadata["limit"] == "client_day"
        await api.stub.EraseClientContactMethods(pb.EraseClientContactMethodsRequest(client_id="busy"))


async def test_each_environment_has_a_secret_of_its_own(replicas: Replicas) -> None:
    await replicas.rotate()
    collection = replicas.deployment.driver.database(f"{replicas.name}_keys")[SECRET_COLLECTION]
    found = await collection.find({}).to_list(length=None)

    assert sorted(document["_id"] for document in found) == ["live-1", "live-2", "test-1"]
    assert len({document["key"] for document in found}) == 3
    assert {len(document["key"]) for document in found} == {32}


async def test_a_file_is_read_again(tmp_path: Path, deployment: Deployment) -> None:
    file = tmp_path / "secrets"
    file.write_text(LINES[0])
    async with AsyncExitStack() as stack:
        replicas = await started(stack, deployment, file)
        one, other = replicas.one, replicas.other
        record, later = await one.api.create(), await one.api.create()
        code = (await one.calls.start(record)).code
        file.write_text("\n".join([LINES[0], LINES[1]]))
        await replicas.pass_by(seconds=15)
        file.write_text("\n".join([LINES[1], LINES[0]]))
        await one.secrets.read()
        of_new = (await one.calls.start(later)).code

        assert (await other.calls.check(later, of_new)).result == VERIFIED
        assert (await one.calls.check(record, code)).result == VERIFIED
        assert await replicas.stored_secrets() == []


async def test_a_file_that_can_no_longer_be_used_leaves_the_secrets_as_they_were(
    tmp_path: Path, deployment: Deployment
) -> None:
    file = tmp_path / "secrets"
    file.write_text(LINES[0])
    async with AsyncExitStack() as stack:
        replicas = await started(stack, deployment, file)
        record = await replicas.one.api.create()
        code = (await replicas.one.calls.start(record)).code
        for content in (b"", b"short", b"\xff" * 40):
            file.write_bytes(content)
            with pytest.raises(ConfigurationError) as refused:
                await replicas.one.secrets.read()
            assert str(file) in str(refused.value)

        assert (await replicas.one.calls.check(record, code)).result == VERIFIED


async def test_readings_go_on_after_one_that_failed(
    tmp_path: Path, deployment: Deployment, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "secrets"
    file.write_text(LINES[0])
    store = deployment.secret_store(f"{World.new_name()}_keys")
    ring = SecretRing(store, file, clock=Clock(), interval=timedelta(0))
    await ring.read()
    current = ring.of(Environment.LIVE)
    first = current().current
    reading = asyncio.create_task(ring.keep_fresh())
    file.write_text("short")
    while not caplog.records:  # noqa: ASYNC110 - nothing signals a reading
        await asyncio.sleep(0)
    kept = current().current
    file.write_text("\n".join([LINES[1], LINES[0]]))
    while current().current == first:  # noqa: ASYNC110 - as above
        await asyncio.sleep(0)
    reading.cancel()
    await asyncio.gather(reading, return_exceptions=True)

    assert kept == first
    assert first.id in current().all
    assert f"the verification secret file {file} must have a line of at least 32 characters" in caplog.text
    assert LINES[0] not in caplog.text
