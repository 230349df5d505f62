"""One server for all hostile calls of a module, so that later calls notice what an earlier one broke."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.conftest import Api, OpenStores, serving


@pytest.fixture(scope="module")
async def hostile_api(on_embedded: OpenStores) -> AsyncIterator[Api]:
    """Run a server on the embedded database."""
    async with serving(await on_embedded()) as running:
        yield running
