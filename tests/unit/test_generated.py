"""Generated files in the repository are what the generators write, and the proto keeps its rules."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from contactsvc import __version__

ROOT = Path(__file__).parents[2]
PROTO = "protos/contactsvc/v1/contact_methods.proto"


def run_buf(*arguments: str) -> None:
    buf = str(Path(sys.executable).parent / "buf")
    subprocess.run([buf, *arguments], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)


def last_release() -> str:
    released = re.search(r"^## \[(\d[^]]*)\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert released is not None
    return released[1]


@pytest.mark.parametrize("script", ["generate_stubs.py", "generate_blocking.py"])
def test_generated_python_is_fresh(script: str) -> None:
    subprocess.run([sys.executable, str(ROOT / "clients/python" / script), "--check"], check=True)


def test_the_descriptor_with_comments_is_fresh(tmp_path: Path) -> None:
    generated = tmp_path / "contact_methods.binpb"
    protoc = [sys.executable, "-m", "grpc_tools.protoc", "-I", "protos", "--include_source_info"]

    subprocess.run([*protoc, f"--descriptor_set_out={generated}", PROTO], cwd=ROOT, check=True)

    committed = ROOT / "contactsvc/v1/contact_methods.binpb"
    assert committed.read_bytes() == generated.read_bytes(), "run `make protos`"


def test_the_descriptor_for_envoy_is_fresh() -> None:
    script = ROOT / "deploy/envoy/generate_descriptor.py"

    subprocess.run([sys.executable, str(script), "--check"], check=True)


def test_the_proto_keeps_its_rules() -> None:
    run_buf("lint")
    run_buf("format", "--exit-code")


def test_the_proto_breaks_no_client_of_the_last_release() -> None:
    run_buf("breaking", "--against", f"protos/releases/{last_release()}.binpb")


def test_the_version_is_the_last_release_of_the_changelog() -> None:
    assert last_release() == __version__
