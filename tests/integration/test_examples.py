"""The programs in examples/ for Python and grpcurl, run against `contactsvc serve`.

Those for Go and TypeScript are run by test_go_example.py and tests/clients/test_typescript.py, beside what they need.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Mapping

import pytest

from tests.integration.example_runs import EXAMPLES, expected, guarded_service, output_of


@pytest.fixture(scope="module")
async def environ(embedded_uri: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Mapping[str, str]]:
    """Run a service for all examples."""
    async with guarded_service(embedded_uri, tmp_path_factory.mktemp("service")) as environ:
        yield environ


@pytest.mark.parametrize(
    ("command", "code"),
    [
        ((sys.executable, "python/quickstart.py"), "INVALID_ARGUMENT"),
        (("sh", "grpcurl/quickstart.sh"), "InvalidArgument"),
    ],
    ids=["python", "grpcurl"],
)
async def test_the_example_prints_what_it_promises(
    environ: Mapping[str, str], command: tuple[str, str], code: str
) -> None:
    program, path = command

    output = await output_of(program, str(EXAMPLES / path), environ=environ)

    assert output == expected(code)
