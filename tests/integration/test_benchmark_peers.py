"""The peers of the benchmarks in Node and Go start, and answer every case correctly. Needs their tools and packages."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import sys
from pathlib import Path

import pytest

from tests.integration.test_go_example import OFFLINE, TOO_OLD

ROOT = Path(__file__).parents[2]
# Reasons that are not mistakes of the peer: packages cannot be downloaded, or Go is too old.
UNAVAILABLE = re.compile(f"npm|{OFFLINE.pattern}|{TOO_OLD.pattern}")
CASES = "get,primary,list,create,update,batch,stream"


@pytest.mark.long
@pytest.mark.parametrize("peer", ["node", "go"])
async def test_a_peer_answers_every_case(peer: str, tmp_path: Path) -> None:
    # The run checks each answer before it measures. On a new machine, Go compiles the driver first, for a minute.
    if shutil.which(peer) is None:
        pytest.skip(f"{peer} is not installed")
    options = ("--quick", "--records", "100", "--rounds", "1", "--seconds", "0.05", "--levels", "1")
    run = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "benchmarks", *options, "--cases", CASES, "--servers", f"contactsvc,{peer}"),
        *("--output", str(tmp_path)),
        cwd=ROOT,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    _, errors = await run.communicate()

    assert run.returncode == 0, errors.decode()
    results = json.loads((tmp_path / "results.json").read_text())
    left_out = [note for note in results["notes"] if "is left out" in note]
    if any(UNAVAILABLE.search(note) for note in left_out):
        pytest.skip(left_out[0])
    assert left_out == []
    measured = {one["case"] for one in results["figures"] if one["server"] == peer}
    assert measured == set(CASES.split(","))
