"""Fixtures of the tests that prepare a database by hand."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Iterator

import pytest

from contactsvc import store
from contactsvc.domain.kinds import Environment
from contactsvc.store import Deployment
from tests.conftest import DRIVER, serving
from tests.integration.doctor_patient import Patient
from tests.integration.import_commands import ImportCommands
from tests.integration.transfer_world import World


@pytest.fixture(scope="session")
async def deployment(embedded_uri: str) -> AsyncIterator[Deployment]:
    """Connect to the embedded database once for the whole session."""
    connected = await store.connect(embedded_uri, DRIVER)
    try:
        yield connected
    finally:
        await connected.close()


@pytest.fixture
async def world(embedded_uri: str, deployment: Deployment) -> AsyncIterator[World]:
    """Make two fresh databases, and run a service on the first one."""
    name, other = World.new_name(), World.new_name()
    stores = {environment: await deployment.open_store(f"{name}_{environment}") for environment in Environment}
    async with serving(stores) as api:
        yield World(embedded_uri, deployment, name, other, api)


@pytest.fixture
async def patient(request: pytest.FixtureRequest, embedded_uri: str, deployment: Deployment) -> Patient:
    """Make a fresh database with valid documents; a parameter is the driver with which doctor connects."""
    made = Patient(embedded_uri, World.new_name(), getattr(request, "param", DRIVER), deployment)
    for environment in Environment:
        await deployment.open_store(f"{made.name}_{environment}")
    await made.record_rules()
    await made.insert_valid()
    return made


@pytest.fixture
def commands(embedded_uri: str) -> Iterator[ImportCommands]:
    """Name a database that does not exist yet, and keep what the commands do to logging from other tests."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield ImportCommands(embedded_uri, World.new_name())
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(capture=False)
