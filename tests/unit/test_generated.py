"""Generated files in the repository are what the generators write, and the proto keeps its rules."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import yaml

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


def test_the_stubs_are_fresh(tmp_path: Path) -> None:
    protoc = [sys.executable, "-m", "grpc_tools.protoc", "-I", "protos"]
    outputs = [f"--{kind}_out={tmp_path}" for kind in ("python", "pyi", "grpc_python")]
    descriptors = f"--descriptor_set_out={tmp_path}/contactsvc/v1/contact_methods.binpb"

    subprocess.run([*protoc, *outputs, PROTO], cwd=ROOT, check=True)
    subprocess.run([*protoc, "--include_source_info", descriptors, PROTO], cwd=ROOT, check=True)

    generated = sorted((tmp_path / "contactsvc/v1").iterdir())
    assert len(generated) == 4
    for path in generated:
        committed = ROOT / "contactsvc/v1" / path.name
        assert committed.read_bytes() == path.read_bytes(), f"{path.name} is stale; run `make protos`"


def test_the_blocking_client_is_fresh() -> None:
    script = ROOT / "clients/python/generate_blocking.py"

    subprocess.run([sys.executable, str(script), "--check"], check=True)


def test_the_descriptor_for_envoy_is_fresh() -> None:
    script = ROOT / "deploy/envoy/generate_descriptor.py"

    subprocess.run([sys.executable, str(script), "--check"], check=True)


def test_the_proto_keeps_its_rules() -> None:
    run_buf("lint")
    run_buf("format", "--exit-code")


def test_the_proto_breaks_no_client_of_the_last_release() -> None:
    run_buf("breaking", "--against", f"protos/releases/{last_release()}.binpb")


def test_the_exceptions_for_language_options_end_with_the_release_that_lacked_them() -> None:
    breaking = yaml.safe_load((ROOT / "buf.yaml").read_text())["breaking"]

    assert ("except" in breaking) == (last_release() == "0.1.0"), "remove `except` from buf.yaml"


def test_the_version_is_the_last_release_of_the_changelog() -> None:
    assert last_release() == __version__
