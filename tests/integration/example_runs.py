"""What the programs in examples/ print, and how they are run."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from tests.integration.service_process import running_service
from tests.operations.test_commands import keys
from tests.operations.workers import on_database

EXAMPLES = Path(__file__).parents[2] / "examples"


def expected(code: str) -> str:
    """Return what an example prints, with its spelling of the status code INVALID_ARGUMENT."""
    return (
        "created juan@example.com, primary: true\n"
        "primary is now juan@work.example.com\n"
        f"refused: {code} INVALID_FIELD, field value\n"
        "repeated: the same record\n"
    )


@asynccontextmanager
async def guarded_service(uri: str, folder: Path, *flags: str) -> AsyncIterator[dict[str, str]]:
    """Run `contactsvc serve` with an API key; yield the variables that examples read.

    Args:
        uri: the embedded database of the tests.
        folder: an empty folder.
        flags: additional flags of the service.
    """
    database = on_database(uri)
    permissions = ("--environment", "live", "--allow", "read,write")
    code, key, errors = await keys("create", "--name", "example", *permissions, *database)
    assert code == 0, errors
    async with running_service(folder, *database, *flags) as service:
        port = service.address.rpartition(":")[2]
        # By name, for certificates.
        yield {"CONTACTSVC_TARGET": f"localhost:{port}", "CONTACTSVC_API_KEY": key.strip()}


async def output_of(*command: str, environ: Mapping[str, str]) -> str:
    """Run a program; return what it prints, or fail with it.

    Args:
        command: the program and its arguments.
        environ: variables beside those of the tests; CONTACTSVC_… of the tests are left out.
    """
    kept = {name: value for name, value in os.environ.items() if not name.startswith("CONTACTSVC_")}
    # The tools of the environment of the tests, which need not be on the PATH.
    kept["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), kept["PATH"]])
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT, env={**kept, **environ}
    )
    output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()
    return output.decode()
