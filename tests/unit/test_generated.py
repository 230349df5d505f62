"""What is generated and committed is what the generators write today."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
PROTO = "protos/contactsvc/v1/contact_methods.proto"


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
        assert committed.read_bytes() == path.read_bytes(), f"{path.name} is not fresh; run `make protos`"


def test_the_blocking_client_is_fresh() -> None:
    script = ROOT / "clients/python/generate_blocking.py"

    subprocess.run([sys.executable, str(script), "--check"], check=True)


def test_the_proto_keeps_its_rules() -> None:
    buf = str(Path(sys.executable).parent / "buf")

    subprocess.run([buf, "lint"], cwd=ROOT, check=True)
    subprocess.run([buf, "format", "--exit-code"], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
