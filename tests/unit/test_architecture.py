"""The rules of the house: who may import whom."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SERVER = sorted(path for path in (ROOT / "contactsvc").rglob("*.py") if "v1" not in path.parts)
CLIENT = sorted((ROOT / "clients/python/contactsvc_client").glob("*.py"))


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)


def imports_of(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def imports_any(path: Path, *packages: str) -> bool:
    return any(name == package or name.startswith(f"{package}.") for name in imports_of(path) for package in packages)


@pytest.mark.parametrize("path", SERVER, ids=name_of)
def test_the_core_knows_neither_grpc_nor_mongodb(path: Path) -> None:
    if name_of(path).startswith(("contactsvc.domain", "contactsvc.errors", "contactsvc.service")) and (
        path.name != "servicer.py"
    ):
        assert not imports_any(path, "grpc", "google", "motor", "pymongo", "bson")


@pytest.mark.parametrize("path", SERVER, ids=name_of)
def test_only_the_store_knows_the_drivers(path: Path) -> None:
    if not name_of(path).startswith("contactsvc.store"):
        assert not imports_any(path, "motor", "pymongo", "bson")


@pytest.mark.parametrize("path", SERVER, ids=name_of)
def test_only_the_edge_knows_the_messages(path: Path) -> None:
    edge = ("contactsvc.rpc", "contactsvc.runtime.server")
    assert name_of(path).startswith(edge) or not imports_any(path, "contactsvc.v1")


@pytest.mark.parametrize("path", SERVER, ids=name_of)
def test_only_status_names_status_codes(path: Path) -> None:
    assert path.stem == "status" or not {"grpc.StatusCode"} & imports_of(path)
    assert "grpc.StatusCode" not in path.read_text()


@pytest.mark.parametrize("path", SERVER, ids=name_of)
def test_only_the_command_line_hands_out_the_environment(path: Path) -> None:
    doors = {"environ", "environb", "getenv", "getenvb", "putenv", "unsetenv"}
    tree = ast.parse(path.read_text())
    reached = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute) and _is_os(node.value)}
    taken = {name.removeprefix("os.") for name in imports_of(path) if name.startswith("os.")}
    assert name_of(path).startswith("contactsvc.cli.") or not doors & (reached | taken)


def _is_os(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) and node.id == "os"


def test_the_supervisor_of_workers_loads_neither_grpc_nor_a_driver() -> None:
    heavy = "{'grpc', 'google', 'motor', 'pymongo', 'bson', 'cryptography', 'uvloop'}"
    look = f"import sys, contactsvc.cli.main, contactsvc.runtime.supervisor; print(sorted({heavy} & set(sys.modules)))"

    loaded = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, check=True)

    assert loaded.stdout == "[]\n"


@pytest.mark.parametrize("path", CLIENT, ids=lambda path: path.stem)
def test_the_client_knows_only_the_messages_of_the_service(path: Path) -> None:
    ours = {name for name in imports_of(path) if name == "contactsvc" or name.startswith("contactsvc.")}
    assert all(name.startswith("contactsvc.v1") for name in ours)
