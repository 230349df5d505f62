"""Packages of the Node peer and the build of the Go peer: what they need before they start."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path

NODE_FOLDER = Path(__file__).parent / "node"
GO_FOLDER = Path(__file__).parent / "go"
_NPM_TIMEOUT_SECONDS = 180
# A first build compiles grpc-go and the driver, which takes a minute or two on two cores; later ones take a second.
_GO_TIMEOUT_SECONDS = 420
_GO_REQUIREMENT = r"^\t\S+/{module} v(\S+)$"
_GO_MODULES = {"grpc-go": "grpc", "mongo-driver": "mongo-driver/v2"}


class ServerUnavailable(Exception):
    """A server is left out; the message says why."""


async def install_node_packages(folder: Path) -> None:
    """Install the packages of the Node peer, if they are not there yet; the log goes to this folder.

    Raises:
        ServerUnavailable: Node, npm or a package is missing.
    """
    if shutil.which("node") is None:
        raise ServerUnavailable("Node is not installed")
    if (NODE_FOLDER / "node_modules" / "mongodb").exists():
        return
    if shutil.which("npm") is None:
        raise ServerUnavailable("npm, which installs the packages of the Node peer, is not installed")
    log = folder / "npm.log"
    install = ("npm", "install", "--no-package-lock", "--no-audit", "--no-fund", "--ignore-scripts")
    code = await _run(*install, folder=NODE_FOLDER, log=log, timeout=_NPM_TIMEOUT_SECONDS)
    if code != 0:
        errors = [line for line in _lines(log) if "error" in line.lower()]
        raise ServerUnavailable(f"npm install failed: {' '.join(errors[:2]) or _no_output(code)}")


async def build_go_peer(folder: Path) -> Path:
    """Build the Go peer in this folder; return the program.

    Raises:
        ServerUnavailable: Go or a module is missing, or Go is too old.
    """
    if shutil.which("go") is None:
        raise ServerUnavailable("Go is not installed")
    program, log = folder / "go-peer", folder / "go-build.log"
    # The Go that is installed, and no C compiler.
    environ = {"GOTOOLCHAIN": "local", "CGO_ENABLED": "0"}
    build = ("go", "build", "-o", str(program), ".")
    code = await _run(*build, folder=GO_FOLDER, log=log, timeout=_GO_TIMEOUT_SECONDS, environ=environ)
    if code != 0:
        errors = [line for line in _lines(log) if not line.startswith(("go: downloading", "#"))]
        raise ServerUnavailable(f"go build failed: {' '.join(errors[:2]) or _no_output(code)}")
    return program


def go_module_versions() -> dict[str, str]:
    """Return the versions of grpc-go and the driver that go.mod pins."""
    text = (GO_FOLDER / "go.mod").read_text()
    return {
        name: version
        for name, module in _GO_MODULES.items()
        for version in re.findall(_GO_REQUIREMENT.format(module=module), text, re.MULTILINE)
    }


def node_package_versions() -> dict[str, str]:
    """Return the versions of the packages that package.json pins."""
    versions: dict[str, str] = json.loads((NODE_FOLDER / "package.json").read_text())["dependencies"]
    return versions


async def _run(
    *command: str, folder: Path, log: Path, timeout: float, environ: Mapping[str, str] | None = None
) -> int | None:
    """Run a command with its output in the log; return its exit code, None after the timeout."""
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            *command,
            cwd=folder,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env={**os.environ, **(environ or {})},
        )
        try:
            async with asyncio.timeout(timeout):
                return await process.wait()
        except TimeoutError:
            return None
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()


def _lines(log: Path) -> list[str]:
    return log.read_text(errors="replace").splitlines()


def _no_output(code: int | None) -> str:
    return "timed out" if code is None else f"exit code {code}"
