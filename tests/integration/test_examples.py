"""The programs in examples/ for Python and grpcurl, run against a service.

Those for Go and TypeScript are run by test_go_example.py and tests/clients/test_typescript.py, beside what they need.
"""

from __future__ import annotations

import sys

import pytest

from tests.conftest import OpenStores
from tests.integration.example_runs import EXAMPLES, expected, output_of
from tests.operations.guarded import guarded


@pytest.mark.parametrize(
    ("command", "code"),
    [
        ((sys.executable, "python/quickstart.py"), "INVALID_ARGUMENT"),
        (("sh", "grpcurl/quickstart.sh"), "InvalidArgument"),
    ],
    ids=["python", "grpcurl"],
)
async def test_the_example_prints_what_it_promises(
    on_embedded: OpenStores, command: tuple[str, str], code: str
) -> None:
    program, path = command
    async with guarded(on_embedded) as server:
        key = server.keys.make()
        await server.gate.refresh()

        output = await output_of(
            program,
            str(EXAMPLES / path),
            environ={"CONTACTSVC_TARGET": server.api.target, "CONTACTSVC_API_KEY": key},
        )

    assert output == expected(code)
