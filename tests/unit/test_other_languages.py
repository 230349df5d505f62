"""Code for other languages, and that docs/other-languages.md and docs/browsers.md match what they describe."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from google.protobuf import descriptor_pb2

from contactsvc.v1 import contact_methods_pb2 as pb

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "other-languages.md").read_text()
BROWSERS = (ROOT / "docs" / "browsers.md").read_text()


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Generate messages for Java and C# by the page's buf.gen.yaml.

    The plugins for gRPC stubs come with the tools of those languages, which are not here. Those of Go are tested with
    examples/go.
    """
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    if shutil.which("protoc", path=path) is None:
        pytest.skip("protoc is not installed: its package has no wheel for this platform")
    folder = tmp_path_factory.mktemp("generated")
    (block,) = blocks(PAGE, "yaml")
    configuration: Any = yaml.safe_load(block.replace("../contactsvc", str(ROOT)))
    configuration["plugins"] = [plugin for plugin in configuration["plugins"] if "protoc_builtin" in plugin]
    (folder / "buf.gen.yaml").write_text(yaml.safe_dump(configuration))
    buf = str(Path(sys.executable).parent / "buf")

    subprocess.run([buf, "generate"], cwd=folder, check=True, env={**os.environ, "PATH": path})
    return folder / "gen"


def test_java_gets_a_class_for_each_message_in_its_package(generated: Path) -> None:
    folder = generated / "java" / "contactsvc" / "v1"

    for name in [*pb.DESCRIPTOR.message_types_by_name, *pb.DESCRIPTOR.enum_types_by_name, "ContactMethodsProto"]:
        assert "\npackage contactsvc.v1;\n" in (folder / f"{name}.java").read_text()


def test_csharp_gets_its_namespace(generated: Path) -> None:
    (path,) = (generated / "csharp").rglob("*.cs")

    text = path.read_text()

    assert "namespace Contactsvc.V1 {" in text
    for name in pb.DESCRIPTOR.message_types_by_name:
        assert f"public sealed partial class {name} :" in text


def test_the_program_of_the_page_is_that_of_the_example() -> None:
    program = (ROOT / "examples" / "go" / "main.go").read_text()
    snippets = blocks(PAGE, "go")

    assert len(snippets) > 3
    for snippet in snippets:
        assert snippet in program


def test_the_generated_code_of_the_go_example_has_the_present_proto() -> None:
    # Whatever else is generated follows from it. A test of examples/go generates all of it again, by Go.
    code = (ROOT / "examples/go/contactsvc/v1/contact_methods.pb.go").read_text()
    literal = re.search(r'_rawDesc = "" \+\n((?:\t".*"(?: \+)?\n)+)', code)
    assert literal is not None
    lines = re.findall(r'^\t(".*")(?: \+)?$', literal[1], re.MULTILINE)
    # The escapes of Go's string literals are those of bytes in Python.
    lines = re.findall(r'^\t(".*")(?: \+)?$', literal[1], re.MULTILINE)
    generated = descriptor_pb2.FileDescriptorProto.FromString(b"".join(ast.literal_eval(f"b{line}") for line in lines))
    stored = Path(pb.__file__).with_name("contact_methods.binpb").read_bytes()
    (present,) = descriptor_pb2.FileDescriptorSet.FromString(stored).file
    present.ClearField("source_code_info")

    assert generated == present, "stale; run `make protos`"


def test_the_page_names_the_packages_of_the_proto() -> None:
    options = descriptor_pb2.FileDescriptorProto.FromString(pb.DESCRIPTOR.serialized_pb).options

    assert options.java_multiple_files
    for name in (options.java_package, options.csharp_namespace, *options.go_package.split(";")):
        assert f"`{name}`" in PAGE


def test_the_page_on_browsers_lists_the_http_rules() -> None:
    rules = yaml.safe_load((ROOT / "deploy" / "envoy" / "http_rules.yaml").read_text())["http"]["rules"]
    listed = re.findall(r"^\| (\w+) \| `([A-Z]+) (/\S+)` \|$", BROWSERS, re.MULTILINE)

    assert listed == [
        (rule["selector"].rpartition(".")[2], method.upper(), rule[method])
        for rule in rules
        for method in rule.keys() - {"selector", "body"}
    ]


def test_paths_have_no_values_of_contacts_in_them() -> None:
    rules = yaml.safe_load((ROOT / "deploy" / "envoy" / "http_rules.yaml").read_text())["http"]["rules"]
    variables = {name for rule in rules for name in re.findall(r"\{(\w+)", str(rule))}
    without_body = {rule["selector"].rpartition(".")[2] for rule in rules if "body" not in rule}

    assert variables == {"id", "client_id", "type"}
    # What is no path variable becomes a query parameter in these.
    methods = pb.DESCRIPTOR.services_by_name["ContactMethodsService"].methods_by_name
    assert {field.name for name in without_body for field in methods[name].input_type.fields} == {
        *("id", "client_id", "type", "page_size", "page_token", "allow_missing", "on_primary", "etag", "request_id")
    }
