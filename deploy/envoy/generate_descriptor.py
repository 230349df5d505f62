"""Writes contactsvc.binpb, the descriptor set that Envoy loads to convert JSON calls; `--check` only compares.

Contains the proto, the messages of error details, and the rules of http_rules.yaml as `google.api.http` options, so
that the proto itself needs none. Run by `make protos`.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import yaml
from google.api import annotations_pb2, http_pb2
from google.protobuf import descriptor_pb2, json_format

FOLDER = Path(__file__).parent
DESCRIPTOR = FOLDER / "contactsvc.binpb"
_ROOT = FOLDER.parents[1]
_RULES = FOLDER / "http_rules.yaml"
# Envoy converts the details of an error only if the set has their types.
_PROTOS = ("contactsvc/v1/contact_methods.proto", "google/rpc/error_details.proto", "google/rpc/status.proto")


def descriptor_set() -> bytes:
    """Return the descriptor set with a rule for every RPC.

    Raises:
        SystemExit: an RPC has no rule, or a rule names no RPC.
    """
    files = descriptor_pb2.FileDescriptorSet.FromString(_compiled())
    rules = _rules()
    for file in files.file:
        for service in file.service:
            for method in service.method:
                name = f"{file.package}.{service.name}.{method.name}"
                if name not in rules:
                    sys.exit(f"{_RULES.name}: {name} has no rule")
                method.options.Extensions[annotations_pb2.http].CopyFrom(rules.pop(name))
    if rules:
        sys.exit(f"{_RULES.name}: no such RPC: {', '.join(rules)}")
    return files.SerializeToString(deterministic=True)


def _compiled() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "descriptor.binpb"
        command = [sys.executable, "-m", "grpc_tools.protoc", "-I", "protos", "--include_imports"]
        subprocess.run([*command, f"--descriptor_set_out={output}", *_PROTOS], cwd=_ROOT, check=True)  # noqa: S603
        return output.read_bytes()


def _rules() -> dict[str, http_pb2.HttpRule]:
    configuration = yaml.safe_load(_RULES.read_text())
    rules: dict[str, http_pb2.HttpRule] = {}
    for rule in json_format.ParseDict(configuration["http"], http_pb2.Http()).rules:
        # Redundant in the options of a method.
        name, rule.selector = rule.selector, ""
        if name in rules:
            sys.exit(f"{_RULES.name}: {name} has two rules; use additional_bindings")
        rules[name] = rule
    return rules


def main() -> None:
    """Write or check the file."""
    generated = descriptor_set()
    if "--check" not in sys.argv[1:]:
        DESCRIPTOR.write_bytes(generated)
    elif not DESCRIPTOR.exists() or DESCRIPTOR.read_bytes() != generated:
        sys.exit(f"{DESCRIPTOR.relative_to(_ROOT)} is stale; run `make protos`")


if __name__ == "__main__":
    main()
