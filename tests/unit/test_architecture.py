"""Rules of the architecture that import contracts ([tool.importlinter] in pyproject.toml) cannot express."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SERVICE = sorted(path for path in (ROOT / "contactsvc").rglob("*.py") if "v1" not in path.parts)


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)


def imported_names(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


@pytest.mark.parametrize("path", SERVICE, ids=module_name)
def test_only_status_names_status_codes(path: Path) -> None:
    assert path.stem == "status" or "grpc.StatusCode" not in imported_names(path)
    assert "grpc.StatusCode" not in path.read_text()


@pytest.mark.parametrize("path", SERVICE, ids=module_name)
def test_only_the_command_line_hands_out_the_environment(path: Path) -> None:
    accessors = {"environ", "environb", "getenv", "getenvb", "putenv", "unsetenv"}
    nodes = ast.walk(ast.parse(path.read_text()))
    used = {node.attr for node in nodes if isinstance(node, ast.Attribute) and _is_os(node.value)}
    imported = {name.removeprefix("os.") for name in imported_names(path) if name.startswith("os.")}
    assert module_name(path).startswith("contactsvc.cli.") or not accessors & (used | imported)


def _is_os(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) and node.id == "os"


def test_the_supervisor_of_workers_loads_neither_grpc_nor_a_driver() -> None:
    heavy = "{'grpc', 'google', 'motor', 'pymongo', 'bson', 'cryptography', 'uvloop'}"
    script = (
        f"import sys, contactsvc.cli.main, contactsvc.runtime.supervisor; print(sorted({heavy} & set(sys.modules)))"
    )

    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)

    assert loaded.stdout == "[]\n"
