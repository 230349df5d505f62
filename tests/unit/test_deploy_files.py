"""Files in deploy/ refer to existing flags, variables and commands, and keep their security promises."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest

from contactsvc.cli.main import main
from contactsvc.rpc.health import LIVENESS
from tests.unit.deploy_files import DEPLOY, SERVICE, document, documents

# Without programs and what they generate.
FILES = sorted(path for path in DEPLOY.rglob("*") if path.is_file() and path.suffix not in {".py", ".pyc", ".binpb"})

# Flags of other programs. A mentioned flag must be ours or listed here; a listed flag must be mentioned.
OTHERS_FLAGS = {
    "--build",  # docker compose
    "--build-arg",  # docker build
    "--eval",  # mongosh
    "--from",  # COPY in a Dockerfile
    "--from-file",  # kubectl
    "--for",  # kubectl wait
    "--health-cmd",  # docker run
    "--interval",  # HEALTHCHECK in a Dockerfile
    "--no-deps",  # pip
    "--only-binary",  # pip
    "--python",  # pip
    "--quiet",  # mongosh
    "--replSet",  # mongod
    "--retries",  # HEALTHCHECK in a Dockerfile
    "--start-period",  # HEALTHCHECK in a Dockerfile
    "--timeout",  # HEALTHCHECK in a Dockerfile
    "--wait",  # docker compose
    "--wheel-dir",  # pip
    "--without-pip",  # venv
    "--bind_ip_all",  # mongod
    "--strict",  # kubernetes-validate
    "--unix-socket",  # curl
}


def relative(path: Path) -> str:
    return str(path.relative_to(DEPLOY))


def commands(command: click.Command = main, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    yield path, command
    if isinstance(command, click.Group):
        for name, child in command.commands.items():
            yield from commands(child, (*path, name))


COMMANDS = dict(commands())
OUR_FLAGS = {flag for command in COMMANDS.values() for parameter in command.params for flag in parameter.opts}
VARIABLES = {f"CONTACTSVC_{parameter.name.upper()}" for parameter in COMMANDS["serve",].params}


@pytest.mark.parametrize("path", [path for path in FILES if path.suffix in {".yaml", ".json"}], ids=relative)
def test_a_file_parses(path: Path) -> None:
    if path.suffix == ".json":
        assert json.loads(path.read_text())
    else:
        assert documents(relative(path))


@pytest.mark.parametrize("path", FILES, ids=relative)
def test_every_flag_and_variable_that_is_mentioned_exists(path: Path) -> None:
    text = path.read_text()

    flags = set(re.findall(r"(?<![\w-])--[A-Za-z][\w-]*", text))
    variables = set(re.findall(r"CONTACTSVC_[A-Z]\w*", text))

    assert flags - OUR_FLAGS - OTHERS_FLAGS == set()
    assert variables - VARIABLES == set()


def test_no_flag_of_another_program_hides_one_of_ours_or_is_listed_in_vain() -> None:
    text = "\n".join(path.read_text() for path in FILES)

    assert set() == OTHERS_FLAGS & OUR_FLAGS
    assert [flag for flag in OTHERS_FLAGS if not re.search(rf"{flag}(?![\w-])", text)] == []


def test_every_command_in_prose_exists() -> None:
    text = "\n".join(path.read_text() for path in FILES)

    # In backquotes, or run in a container.
    lines = re.findall(r"(?:`|-- |exec contactsvc )contactsvc ([a-z][^`\n]*)", text)

    assert len(lines) > 5
    for line in lines:
        parse(line.split())


def parse(arguments: list[str]) -> None:
    """Parse command-line arguments of contactsvc without running the command."""
    path: tuple[str, ...] = ()
    while arguments and (*path, arguments[0]) in COMMANDS:
        path, arguments = (*path, arguments[0]), arguments[1:]
    assert path, f"no command: {arguments}"
    # Raises for an unknown flag or an invalid value.
    COMMANDS[path].make_context(" ".join(path), arguments)


def test_the_containers_run_commands_that_exist() -> None:
    service = document("compose.yaml")["services"]["contactsvc"]
    container = only_container("deployment.yaml")

    parse(service["command"])
    assert service["healthcheck"]["test"][:2] == ["CMD", "contactsvc"]
    parse(service["healthcheck"]["test"][2:])
    parse(container["args"])
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        program, *arguments = container[probe]["exec"]["command"]
        assert program == "contactsvc"
        parse(arguments)


def pod_spec(name: str) -> Any:
    manifest = document(f"kubernetes/{name}")
    return manifest["spec"] if manifest["kind"] == "Pod" else manifest["spec"]["template"]["spec"]


def only_container(name: str) -> Any:
    (container,) = pod_spec(name)["containers"]
    return container


def settings_of_the_deployment() -> dict[str, str]:
    return {entry["name"]: entry["value"] for entry in only_container("deployment.yaml")["env"] if "value" in entry}


@pytest.mark.parametrize("name", ["deployment.yaml", "admin-pod.yaml"])
def test_a_pod_has_no_rights_that_it_does_not_need(name: str) -> None:
    pod, container = pod_spec(name), only_container(name)

    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["automountServiceAccountToken"] is False
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert container["resources"]["limits"]["memory"]


def test_image_and_pods_run_as_the_same_user_who_is_not_root() -> None:
    (user,) = re.findall(r"^USER (\d+):\d+$", (DEPLOY / "Dockerfile").read_text(), re.MULTILINE)

    assert int(user) > 0
    for name in ("deployment.yaml", "admin-pod.yaml"):
        assert pod_spec(name)["securityContext"]["runAsUser"] == int(user)


def test_the_probes_ask_for_the_right_health() -> None:
    container = only_container("deployment.yaml")
    asked = {
        probe: [argument for argument in container[probe]["exec"]["command"] if argument.startswith("--service=")]
        for probe in ("startupProbe", "livenessProbe", "readinessProbe")
    }

    assert asked == {
        "startupProbe": [f"--service={LIVENESS}"],
        "livenessProbe": [f"--service={LIVENESS}"],
        "readinessProbe": [f"--service={SERVICE}"],
    }


def test_nothing_is_killed_while_it_drains() -> None:
    for settings, grace_period in (
        (settings_of_the_deployment(), pod_spec("deployment.yaml")["terminationGracePeriodSeconds"]),
        (
            document("compose.yaml")["services"]["contactsvc"]["environment"],
            int(document("compose.yaml")["services"]["contactsvc"]["stop_grace_period"].removesuffix("s")),
        ),
    ):
        draining = float(settings["CONTACTSVC_DRAIN_WAIT"]) + float(settings["CONTACTSVC_DRAIN_GRACE"])
        assert grace_period >= draining + 5


def test_tls_files_come_from_a_mounted_directory_so_that_rotation_reaches_the_pod() -> None:
    (mount,) = [mount for mount in only_container("deployment.yaml")["volumeMounts"] if mount["name"] == "tls"]
    (volume,) = [volume for volume in pod_spec("deployment.yaml")["volumes"] if volume["name"] == "tls"]
    settings = settings_of_the_deployment()

    assert "subPath" not in mount
    assert "secret" in volume
    for name in ("CONTACTSVC_TLS_CERT", "CONTACTSVC_TLS_KEY"):
        assert Path(settings[name]).parent == Path(mount["mountPath"])


def test_nothing_in_kubernetes_is_dangerous_or_holds_a_secret() -> None:
    for path in sorted((DEPLOY / "kubernetes").glob("*.yaml")):
        text = path.read_text()
        assert "dangerously" not in text.lower()
        assert "mongodb://" not in text
        assert not re.search(r"^kind: Secret$", text, re.MULTILINE)


def test_compose_publishes_on_loopback_only() -> None:
    ports = [port for service in document("compose.yaml")["services"].values() for port in service.get("ports", [])]

    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_service_and_scraping_name_the_ports_that_the_settings_open() -> None:
    settings = settings_of_the_deployment()
    opened = {
        "grpc": int(settings["CONTACTSVC_LISTEN"].rpartition(":")[2]),
        "admin": int(settings["CONTACTSVC_ADMIN_LISTEN"].rpartition(":")[2]),
    }
    template = document("kubernetes/deployment.yaml")["spec"]["template"]
    policy = document("kubernetes/networkpolicy.yaml")["spec"]
    (monitor,) = document("kubernetes/servicemonitor.yaml")["spec"]["endpoints"]

    assert {port["name"]: port["containerPort"] for port in only_container("deployment.yaml")["ports"]} == opened
    # A headless Service does not map ports.
    assert {port["name"]: port["port"] for port in document("kubernetes/service.yaml")["spec"]["ports"]} == opened
    assert int(template["metadata"]["annotations"]["prometheus.io/port"]) == opened["admin"]
    assert [port["port"] for rule in policy["ingress"] for port in rule["ports"]] == [opened["grpc"], opened["admin"]]
    assert monitor["port"] in opened


def test_the_selectors_select_the_pods() -> None:
    labels = document("kubernetes/deployment.yaml")["spec"]["template"]["metadata"]["labels"].items()
    service = document("kubernetes/service.yaml")
    budget = document("kubernetes/poddisruptionbudget.yaml")["spec"]["selector"]["matchLabels"]
    monitored = document("kubernetes/servicemonitor.yaml")["spec"]["selector"]["matchLabels"]
    (expression,) = document("kubernetes/networkpolicy.yaml")["spec"]["podSelector"]["matchExpressions"]

    assert service["spec"]["selector"].items() <= labels
    assert budget.items() <= labels
    assert monitored.items() <= service["metadata"]["labels"].items()
    for pod_labels in (dict(labels), document("kubernetes/admin-pod.yaml")["metadata"]["labels"]):
        assert pod_labels[expression["key"]] in expression["values"]
    # The Service routes no calls to the admin pod.
    admin = document("kubernetes/admin-pod.yaml")["metadata"]["labels"]
    assert not service["spec"]["selector"].items() <= admin.items()


def test_the_kustomization_names_every_manifest_or_says_why_not() -> None:
    text = (DEPLOY / "kubernetes/kustomization.yaml").read_text()
    optional = set(re.findall(r"^ +# - (\S+\.yaml) # \S", text, re.MULTILINE))
    manifests = {path.name for path in (DEPLOY / "kubernetes").glob("*.yaml")} - {"kustomization.yaml"}
    resources = set(document("kubernetes/kustomization.yaml")["resources"])

    assert resources | optional | {"admin-pod.yaml"} == manifests
    (image,) = document("kubernetes/kustomization.yaml")["images"]
    for name in ("deployment.yaml", "admin-pod.yaml"):
        assert only_container(name)["image"] == f"{image['name']}:{image['newTag']}"


def test_the_image_gets_neither_the_embedded_database_nor_the_tests() -> None:
    dockerfile = (DEPLOY / "Dockerfile").read_text()
    context = (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines()

    assert "[embedded" not in dockerfile
    assert "[dev" not in dockerfile
    assert "*" in context
    copied = {path for line in re.findall(r"^COPY ([^-\n].*)$", dockerfile, re.M) for path in line.split()[:-1]}
    assert {line.removeprefix("!") for line in context if line.startswith("!")} == copied
    assert 'ENTRYPOINT ["contactsvc"]' in dockerfile
    assert 'CMD ["serve"]' in dockerfile


def test_every_stage_of_the_image_has_the_base_that_the_digest_names() -> None:
    dockerfile = (DEPLOY / "Dockerfile").read_text()
    bases = re.findall(r"^FROM (\S+)", dockerfile, re.MULTILINE)

    assert bases == ["${PYTHON_IMAGE}${PYTHON_DIGEST:+@$PYTHON_DIGEST}"] * 2
    # Declared before the first stage, where FROM reads it, and empty: the tag alone.
    assert re.search(r"^ARG PYTHON_DIGEST=$", dockerfile[: dockerfile.index("\nFROM ")], re.MULTILINE)


def test_the_image_checks_its_health_by_a_command_that_exists() -> None:
    (command,) = re.findall(r"^HEALTHCHECK .*CMD (\[.*\])$", (DEPLOY / "Dockerfile").read_text(), re.MULTILINE)
    program, *arguments = json.loads(command)

    assert program == "contactsvc"
    parse(arguments)
