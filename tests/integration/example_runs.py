"""What the programs in examples/ print, and how they are run."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Mapping
from pathlib import Path

EXAMPLES = Path(__file__).parents[2] / "examples"


def expected(code: str) -> str:
    """Return what an example prints, with its spelling of the status code INVALID_ARGUMENT."""
    return (
        "created juan@example.com, primary: true\n"
        "primary is now juan@work.example.com\n"
        f"refused: {code} INVALID_FIELD, field value\n"
        "repeated: the same record\n"
    )


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
