"""What all tests share: the embedded database, servers on it, and stubs that call them."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2
from hypothesis import settings
from mongomock_motor import AsyncMongoMockClient

from contactsvc import store
from contactsvc.config import ListenAddress
from contactsvc.domain.kinds import Environment
from contactsvc.domain.normalization import ValueRules
from contactsvc.runtime import embedded
from contactsvc.runtime.server import Server
from contactsvc.store import MongoStore, ensure_indexes
from contactsvc.store.transactions import KeyLocks
from contactsvc.v1 import contact_methods_pb2 as pb
from contactsvc.v1 import contact_methods_pb2_grpc as pb_grpc
from tests.examples import LONG, SHORT

MONGODB_URI_VARIABLE = "CONTACTSVC_TEST_MONGODB_URI"
# The driver of all tests that do not name one.
DRIVER = os.environ.get("CONTACTSVC_TEST_DRIVER", "motor")

WITHOUT_TRANSACTIONS = ["mock", "standalone"]
DATABASES = [
    *WITHOUT_TRANSACTIONS,
    "embedded",
    "embedded_pymongo",
    *(["mongodb"] if MONGODB_URI_VARIABLE in os.environ else []),
]

OpenStores = Callable[[], Awaitable[dict[Environment, MongoStore]]]


@dataclass(frozen=True)
class RpcFailure:
    """A failed call as its caller sees it."""

    code: grpc.StatusCode
    message: str
    reason: str
    metadata: dict[str, str]
    fields: list[str]


@dataclass(frozen=True)
class Api:
    """A running server and ways to call it."""

    target: str
    stub: Any
    stores: dict[Environment, MongoStore]
    server: Server

    async def create(self, client_id: str = "client_1", value: str = "", **fields: Any) -> pb.ContactMethod:
        """Create a contact method, an email of some name unless told otherwise."""
        fields.setdefault("type", pb.CONTACT_METHOD_TYPE_EMAIL)
        request = pb.CreateContactMethodRequest(
            client_id=client_id, value=value or f"{uuid.uuid4().hex}@example.com", **fields
        )
        created: pb.CreateContactMethodResponse = await self.stub.CreateContactMethod(request)
        return created.contact_method

    async def get(self, id_: str) -> pb.ContactMethod:
        """Return a contact method."""
        found: pb.GetContactMethodResponse = await self.stub.GetContactMethod(pb.GetContactMethodRequest(id=id_))
        return found.contact_method

    async def primary_id(self, client_id: str, type_: Any = pb.CONTACT_METHOD_TYPE_EMAIL) -> str | None:
        """Return the id of a primary."""
        response: pb.GetPrimaryContactMethodResponse = await self.stub.GetPrimaryContactMethod(
            pb.GetPrimaryContactMethodRequest(client_id=client_id, type=type_)
        )
        return response.contact_method.id if response.HasField("contact_method") else None

    async def total(self) -> int:
        """Return how many contact methods there are."""
        listed: pb.ListContactMethodsResponse = await self.stub.ListContactMethods(
            pb.ListContactMethodsRequest(include_total_size=True)
        )
        return listed.total_size


async def failure_of(call: Awaitable[Any]) -> RpcFailure:
    """Await a call that must fail and return how it did."""
    try:
        await call
    except grpc.aio.AioRpcError as error:
        return failure_in(error)
    raise AssertionError("the call succeeded")


def failure_in(error: Any) -> RpcFailure:
    """Return how a call failed, from the error of either kind of stub."""
    status = status_pb2.Status()
    for key, value in error.trailing_metadata() or ():
        if key == "grpc-status-details-bin":
            status.ParseFromString(value)
    info, bad_request = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
    for detail in status.details:
        detail.Unpack(info)
        detail.Unpack(bad_request)
    fields = [violation.field for violation in bad_request.field_violations]
    return RpcFailure(error.code(), error.details() or "", info.reason, dict(info.metadata), fields)


def ids(records: Iterable[pb.ContactMethod]) -> list[str]:
    """Return the ids of records."""
    return [record.id for record in records]


@asynccontextmanager
async def serving(
    stores: dict[Environment, MongoStore], rules: ValueRules | None = None, **options: Any
) -> AsyncIterator[Api]:
    """Run a server on a free port, in this process."""
    server = Server(stores, rules or ValueRules(), **options)
    address = await server.start(ListenAddress("127.0.0.1", 0))
    try:
        async with grpc.aio.insecure_channel(str(address)) as channel:
            stub = pb_grpc.ContactMethodsServiceStub(channel)  # type: ignore[no-untyped-call]
            yield Api(str(address), stub, stores, server)
    finally:
        await server.stop(None)


@pytest.fixture(scope="session")
async def embedded_uri(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    """Run one embedded database for the whole session."""
    directory: Path = tmp_path_factory.mktemp("embedded")
    async with embedded.running(directory) as database:
        yield database.uri


@asynccontextmanager
async def deployed(uri: str, driver: str = DRIVER) -> AsyncIterator[OpenStores]:
    """Connect, and yield a maker of stores in fresh databases."""
    deployment = await store.connect(uri, driver)

    async def open_stores() -> dict[Environment, MongoStore]:
        prefix = f"test_{uuid.uuid4().hex[:12]}"
        # At once: most of the time goes into waiting for the database to create the indexes.
        opened = await asyncio.gather(*(deployment.open_store(f"{prefix}_{name}") for name in Environment))
        return dict(zip(Environment, opened, strict=True))

    try:
        yield open_stores
    finally:
        await deployment.close()


@pytest.fixture(scope="session")
async def on_embedded(embedded_uri: str) -> AsyncIterator[OpenStores]:
    """Make stores on the embedded database."""
    async with deployed(embedded_uri) as open_stores:
        yield open_stores


@pytest.fixture(scope="session")
async def on_embedded_pymongo(embedded_uri: str) -> AsyncIterator[OpenStores]:
    """Make stores on the embedded database with PyMongo's asynchronous client."""
    async with deployed(embedded_uri, "pymongo") as open_stores:
        yield open_stores


@pytest.fixture(scope="session")
async def on_standalone(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[OpenStores]:
    """Make stores on a server that, like a standalone MongoDB, has no transactions."""
    directory = tmp_path_factory.mktemp("standalone")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    (directory / "secantusd.toml").touch()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", "from secantus.cli import main; main()", "--standalone", "--log-level", "WARNING"),
        *("--host", "127.0.0.1", "--port", str(port)),
        *("--storage-path", str(directory / "data"), "--config", str(directory / "secantusd.toml")),
    )
    try:
        # The driver waits until the server answers.
        async with deployed(
            f"mongodb://127.0.0.1:{port}/?directConnection=true&serverSelectionTimeoutMS=30000"
        ) as made:
            yield made
    finally:
        process.terminate()
        await process.wait()


@pytest.fixture(scope="session")
async def on_mongodb() -> AsyncIterator[OpenStores | None]:
    """Make stores on a real MongoDB, if one is named."""
    uri = os.environ.get(MONGODB_URI_VARIABLE)
    if uri is None:
        yield None
        return
    async with deployed(uri) as open_stores:
        yield open_stores


async def open_mock_stores() -> dict[Environment, MongoStore]:
    """Make stores on mongomock, which has no transactions."""
    client: Any = AsyncMongoMockClient(tz_aware=True)
    stores = {}
    for environment in Environment:
        collection = client[f"mock_{environment}"]["contact_methods"]
        await ensure_indexes(collection)
        stores[environment] = MongoStore(collection, None, KeyLocks())
    return stores


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option of `make test-long`."""
    parser.addoption("--long", action="store_true", help="run tests marked `long`, and generate more examples")


def pytest_configure(config: pytest.Config) -> None:
    """Load the profile that decides how many examples are generated, before test modules are imported."""
    settings.load_profile(LONG if config.getoption("--long") else SHORT)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skip the tests marked `long` unless they are requested."""
    if not config.getoption("--long"):
        skipped = pytest.mark.skip(reason="long: run by `make test-long`")
        for item in items:
            if item.get_closest_marker(LONG):
                item.add_marker(skipped)


def pytest_report_header() -> str:
    """Name the databases that the contract is tested on."""
    return (
        f"contract tests run on: {', '.join(DATABASES)} (and on MongoDB when {MONGODB_URI_VARIABLE} names one); "
        f"driver: {DRIVER}"
    )


@pytest.fixture(params=DATABASES)
async def open_stores(
    request: pytest.FixtureRequest,
    on_standalone: OpenStores,
    on_embedded: OpenStores,
    on_embedded_pymongo: OpenStores,
    on_mongodb: OpenStores | None,
) -> OpenStores:
    """Make stores on each kind of database in turn."""
    if request.param == "mock" and (marker := request.node.get_closest_marker("not_on_mock")):
        pytest.skip(f"mongomock: {marker.args[0]}")
    if request.param in WITHOUT_TRANSACTIONS and request.node.get_closest_marker("needs_transactions"):
        pytest.skip("this database has no transactions")
    made = {
        "mock": open_mock_stores,
        "standalone": on_standalone,
        "embedded": on_embedded,
        "embedded_pymongo": on_embedded_pymongo,
        "mongodb": on_mongodb,
    }[request.param]
    assert made is not None
    return made


@pytest.fixture
async def api(open_stores: OpenStores) -> AsyncIterator[Api]:
    """Run a server on each kind of database in turn."""
    async with serving(await open_stores()) as running:
        yield running


@pytest.fixture
async def embedded_api(on_embedded: OpenStores) -> AsyncIterator[Api]:
    """Run a server on the embedded database only."""
    async with serving(await on_embedded()) as running:
        yield running


@pytest.fixture
async def standalone_api(on_standalone: OpenStores) -> AsyncIterator[Api]:
    """Run a server on a database without transactions only."""
    async with serving(await on_standalone()) as running:
        yield running
