"""The two Python distributions: what belongs to which, what they require, and that they work when they are installed.

`contactsvc-client` has the client and the stubs, `contactsvc` the service; the tests build both.
"""

from __future__ import annotations

import asyncio
import email
import importlib.metadata
import json
import pkgutil
import re
import subprocess
import sys
import tarfile
import tomllib
import venv
from collections.abc import Mapping
from email.message import Message
from pathlib import Path
from zipfile import ZipFile

import contactsvc_client
import contactsvc_stubs.v1.contact_methods_pb2
import contactsvc_stubs.v1.contact_methods_pb2_grpc
import pytest
from packaging.requirements import Requirement

from contactsvc import __version__
from contactsvc.v1 import contact_methods_pb2 as pb
from contactsvc.v1 import contact_methods_pb2_grpc as pb_grpc
from tests.conftest import Api

ROOT = Path(__file__).parents[2]
PROJECTS = {"contactsvc": ROOT, "contactsvc-client": ROOT / "clients" / "python"}
LICENSES = [ROOT / "LICENSE", *(ROOT / "clients" / name / "LICENSE" for name in ("python", "typescript"))]

Archives = Mapping[str, tuple[Path, Path]]


def run(*command: str | Path, cwd: Path = ROOT) -> str:
    """Run a command; return its output, or fail with it."""
    done = subprocess.run(command, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode != 0:
        pytest.fail(f"{command[0]} ended with {done.returncode}:\n{done.stdout}", pytrace=False)
    return done.stdout


@pytest.fixture(scope="module")
def archives(tmp_path_factory: pytest.TempPathFactory) -> Archives:
    """Build both distributions; return the wheel and the sdist of each."""
    built = {}
    for name, project in PROJECTS.items():
        folder = tmp_path_factory.mktemp("dist")
        run(sys.executable, "-m", "hatchling", "build", "--directory", folder, cwd=project)
        built[name] = next(folder.glob("*.whl")), next(folder.glob("*.tar.gz"))
    return built


def metadata_of(wheel: Path) -> Message:
    with ZipFile(wheel) as archive:
        (path,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        return email.message_from_bytes(archive.read(path))


def packages_in(wheel: Path) -> set[str]:
    with ZipFile(wheel) as archive:
        return {name.split("/")[0] for name in archive.namelist() if ".dist-info/" not in name}


def test_no_package_belongs_to_both_distributions(archives: Archives) -> None:
    packages = {name: packages_in(wheel) for name, (wheel, _) in archives.items()}

    assert packages == {
        "contactsvc": {"contactsvc"},
        "contactsvc-client": {"contactsvc_client", "contactsvc_stubs"},
    }


def test_each_wheel_has_its_sources_types_and_data(archives: Archives) -> None:
    service, client = (set(ZipFile(archives[name][0]).namelist()) for name in PROJECTS)

    sources = {path.relative_to(ROOT).as_posix() for path in (ROOT / "contactsvc").rglob("*.py")}
    assert sources | {"contactsvc/v1/contact_methods.binpb"} <= service
    stubs = {f"contactsvc_stubs/v1/contact_methods_pb2{end}" for end in (".py", ".pyi", "_grpc.py")}
    types = {f"{package}/py.typed" for package in ("contactsvc_client", "contactsvc_stubs")}
    assert stubs | types | {"contactsvc_client/_blocking/client.py"} <= client


def test_each_sdist_builds_without_the_repository(archives: Archives, tmp_path: Path) -> None:
    for name, (wheel, sdist) in archives.items():
        with tarfile.open(sdist) as archive:
            archive.extractall(tmp_path, filter="data")

        unpacked = tmp_path / sdist.name.removesuffix(".tar.gz")
        run(
            sys.executable,
            "-m",
            "hatchling",
            "build",
            "--target",
            "wheel",
            "--directory",
            tmp_path / name,
            cwd=unpacked,
        )

        (again,) = (tmp_path / name).glob("*.whl")
        assert ZipFile(again).namelist() == ZipFile(wheel).namelist()


def test_all_versions_are_the_same(archives: Archives) -> None:
    required = [Requirement(text) for text in metadata_of(archives["contactsvc"][0]).get_all("Requires-Dist", [])]

    assert contactsvc_client.__version__ == __version__
    assert {name: metadata_of(wheel)["Version"] for name, (wheel, _) in archives.items()} == dict.fromkeys(
        PROJECTS, __version__
    )
    (pinned,) = (str(requirement.specifier) for requirement in required if requirement.name == "contactsvc-client")
    assert pinned == f"=={__version__}"


def test_the_licence_is_the_same_everywhere(archives: Archives) -> None:
    texts = {path.read_text() for path in LICENSES}
    npm = json.loads((ROOT / "clients/typescript/package.json").read_text())

    assert len(texts) == 1
    assert "Copyright (c) 2026 The contactsvc authors" in texts.pop()
    for wheel, sdist in archives.values():
        assert (metadata_of(wheel)["License-Expression"], metadata_of(wheel)["License-File"]) == ("MIT", "LICENSE")
        with tarfile.open(sdist) as archive:
            assert any(name.count("/") == 1 and name.endswith("/LICENSE") for name in archive.getnames())
    assert npm["license"] == "MIT"


def test_the_client_brings_at_most_five_distributions(archives: Archives) -> None:
    missing = metadata_of(archives["contactsvc-client"][0]).get_all("Requires-Dist", [])
    brought: set[str] = set()
    while missing:
        requirement = Requirement(missing.pop())
        name = re.sub(r"[-_.]+", "-", requirement.name).lower()
        if name not in brought and (requirement.marker is None or requirement.marker.evaluate({"extra": ""})):
            brought.add(name)
            missing += importlib.metadata.requires(name) or []

    assert {"grpcio", "protobuf", "grpcio-status"} <= brought
    assert len(brought) <= 5, brought


def test_the_floors_of_the_client_are_those_of_the_stubs() -> None:
    project = tomllib.loads((PROJECTS["contactsvc-client"] / "pyproject.toml").read_text())["project"]
    floors = {Requirement(text).name: str(Requirement(text).specifier) for text in project["dependencies"]}
    messages, services = (
        Path(module.__file__ or "").read_text()
        for module in (contactsvc_stubs.v1.contact_methods_pb2, contactsvc_stubs.v1.contact_methods_pb2_grpc)
    )

    protobuf = re.search(r"^# Protobuf Python Version: (.*)$", messages, re.MULTILINE)
    grpcio = re.search(r"^GRPC_GENERATED_VERSION = '(.*)'$", services, re.MULTILINE)
    assert protobuf is not None
    assert grpcio is not None
    assert f">={protobuf[1]}" in floors["protobuf"].split(",")
    assert floors["grpcio"] == f">={grpcio[1]}"


def test_the_stubs_have_the_name_of_the_proto_and_of_both_packages() -> None:
    assert pb.DESCRIPTOR.name == "contactsvc/v1/contact_methods.proto"
    assert pb.ContactMethod is contactsvc_stubs.v1.contact_methods_pb2.ContactMethod
    assert pb_grpc.ContactMethodsServiceStub is contactsvc_stubs.v1.contact_methods_pb2_grpc.ContactMethodsServiceStub
    assert pb.ContactMethod.__module__ == contactsvc_stubs.v1.contact_methods_pb2.__name__


def test_everything_public_is_in_the_client_package_itself() -> None:
    modules = [module.name for module in pkgutil.iter_modules(contactsvc_client.__path__)]
    public = {name for name in vars(contactsvc_client) if not name.startswith("_")}

    assert [name for name in modules if not name.startswith("_")] == []
    assert public == set(contactsvc_client.__all__)
    assert contactsvc_client.NotFoundError.__module__ == "contactsvc_client"


def fresh_environment(folder: Path, *requirements: str | Path) -> Path:
    """Create a virtual environment with these; return its interpreter."""
    venv.create(folder, with_pip=True)
    python = folder / "bin" / "python"
    run(python, "-m", "pip", "install", "--quiet", *requirements)
    return python


@pytest.mark.long
async def test_the_client_works_where_nothing_else_is_installed(
    archives: Archives, embedded_api: Api, tmp_path: Path
) -> None:
    python = fresh_environment(tmp_path, *archives["contactsvc-client"][:1])
    script = (
        "import sys; from contactsvc_client import ContactsClient\n"
        f"sdk = ContactsClient('{embedded_api.target}').contact_methods\n"
        "made = sdk.create(client_id='c', type='email', value='a@example.com')\n"
        "print(sdk.retrieve(made.id) == made, 'contactsvc' in sys.modules)\n"
    )

    installed = json.loads(run(python, "-m", "pip", "list", "--format", "json"))
    output = await asyncio.to_thread(run, python, "-c", script)

    assert len({entry["name"] for entry in installed} - {"contactsvc-client", "pip", "setuptools"}) <= 5
    assert output == "True False\n"


@pytest.mark.long
def test_the_service_works_where_nothing_else_is_installed(archives: Archives, tmp_path: Path) -> None:
    (client, _), (_, service) = archives["contactsvc-client"], archives["contactsvc"]
    python = fresh_environment(tmp_path, client, service)

    assert run(python, "-m", "pip", "check") == "No broken requirements found.\n"
    assert run(tmp_path / "bin" / "contactsvc", "--version") == f"contactsvc, version {__version__}\n"
    run(python, "-c", "import contactsvc.runtime.serving, contactsvc.rpc.reflection")
