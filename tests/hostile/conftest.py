"""One server for all hostile calls of a module, so that later calls notice what an earlier one broke."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from contactsvc.runtime.server import Limits
from tests.conftest import Api, OpenStores, serving
from tests.hostile.answers import DEADLINE


@pytest.fixture(scope="module")
async def hostile_api(on_embedded: OpenStores) -> AsyncIterator[Api]:
    """Run a server on the embedded database."""
    async with serving(await on_embedded()) as running:
        yield running


@pytest.fixture
async def patient_api(on_embedded: OpenStores) -> AsyncIterator[Api]:
    """Run a server on the embedded database whose calls may take as long as their callers wait."""
    async with serving(await on_embedded(), limits=Limits(max_deadline=DEADLINE)) as running:
        yield running
