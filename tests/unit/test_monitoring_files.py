"""Alert rules and dashboard refer to exported metrics, and documentation names them all."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator

import grpc
import pytest
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from contactsvc.domain.verification import VerificationEvent
from contactsvc.runtime.worker_metrics import supervision
from contactsvc.runtime.worker_process import WorkerProcess
from contactsvc.telemetry import metrics
from contactsvc.telemetry.codes import GO_CODES
from contactsvc.telemetry.limit import Limit
from tests.unit.deploy_files import DEPLOY, SERVICE, document

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="other systems have no /proc")

DOCUMENTATION = (DEPLOY.parent / "docs/observability.md").read_text()
# Labels that Prometheus adds to every series.
TARGET_LABELS = {"instance", "job"}
# Of prometheus_client, on Linux alone.
PROCESS_METRICS = {
    "process_cpu_seconds_total",
    "process_max_fds",
    "process_open_fds",
    "process_resident_memory_bytes",
}
PROMQL_WORDS = {"and", "or", "unless", "by", "without", "on", "ignoring", "bool", "offset"}


def exported() -> dict[str, set[str]]:
    """Return the labels of each exported series by name."""
    ours = metrics.Metrics()
    method = ours.of_method("unary", SERVICE, "GetContactMethod")
    method.began()
    method.sent()
    method.ended("NOT_FOUND", "CONTACT_METHOD_NOT_FOUND", 0.1)
    ours.rejected(Limit.KEY)
    ours.command_ended("find", ok=True, seconds=0.1)
    ours.connections_changed("open", 1)
    labels: dict[str, set[str]] = {name: {"worker"} for name in PROCESS_METRICS}
    for family in text_string_to_metric_families(generate_latest(ours.registry).decode()):
        for sample in family.samples:
            # The supervisor adds the label `worker`.
            labels.setdefault(sample.name, {"worker"}).update(sample.labels)
    for family in supervision([WorkerProcess(0, {})]):
        for sample in family.samples:
            labels.setdefault(sample.name, set()).update(sample.labels)
    return labels


def expressions() -> Iterator[tuple[str, str]]:
    for group in document("prometheus/alerts.yaml")["groups"]:
        for rule in group["rules"]:
            yield rule["alert"], rule["expr"]
    dashboard = json.loads((DEPLOY / "grafana/contactsvc.json").read_text())
    for panel in dashboard["panels"]:
        for target in panel.get("targets", []):
            yield panel["title"], target["expr"]
    for variable in dashboard["templating"]["list"]:
        if variable["type"] == "query":
            metric, label = re.findall(r"\w+", variable["definition"].removeprefix("label_values"))
            yield variable["name"], f"count by ({label}) ({metric})"


@pytest.mark.parametrize(("title", "expression"), list(expressions()))
def test_an_expression_uses_only_metrics_and_labels_that_are_exported(title: str, expression: str) -> None:
    known = exported()
    bare = re.sub(r"\[[^\]]*\]", "", re.sub(r'"[^"]*"', '""', expression))
    grouped = {label.strip() for labels in re.findall(r"\b(?:by|on) \(([^)]*)\)", bare) for label in labels.split(",")}
    bare = re.sub(r"\b(?:by|on) \([^)]*\)", "", bare)
    used = re.findall(r"(?<![\w.$])([A-Za-z_]\w*)(?!\w*\s*\()(?:\{([^}]*)\})?", bare)
    series = [(name, matchers) for name, matchers in used if name not in PROMQL_WORDS]

    assert series, title
    labels: set[str] = set(TARGET_LABELS)
    for name, matchers in series:
        assert name in known, title
        labels |= known[name]
        assert set(re.findall(r"(\w+)(?:=|!)", matchers)) <= known[name] | TARGET_LABELS, title
    assert grouped <= labels, title


@linux_only
def test_the_metrics_of_the_process_are_exported() -> None:
    names = {
        sample.name
        for family in text_string_to_metric_families(generate_latest(metrics.Metrics().registry).decode())
        for sample in family.samples
    }

    assert names >= PROCESS_METRICS


def test_the_codes_are_those_of_grpc_and_expressions_spell_them_like_go() -> None:
    assert set(GO_CODES) == {code.name for code in grpc.StatusCode}
    for _, expression in expressions():
        for codes in re.findall(r'grpc_code(?:=~?|!=~?)"([^"]*)"', expression):
            assert set(codes.split("|")) <= set(GO_CODES.values())


def test_every_limit_is_counted_from_the_start_and_explained() -> None:
    registry = metrics.Metrics().registry
    for limit in Limit:
        assert registry.get_sample_value("contactsvc_rejected_calls_total", {"limit": limit}) == 0
        assert f"`{limit}`" in DOCUMENTATION


def test_every_result_of_a_verification_is_counted_from_the_start_and_explained() -> None:
    registry = metrics.Metrics().registry
    for event in VerificationEvent:
        assert registry.get_sample_value("contactsvc_verifications_total", {"result": event}) == 0
        assert f"| `{event}` |" in DOCUMENTATION


def test_every_metric_is_documented() -> None:
    families = {
        re.sub(r"_(?:bucket|sum|count|created|total)$", "", name): name for name in exported() if "process_" not in name
    }

    assert [name for name in families if f"`{name}" not in DOCUMENTATION] == []


def test_every_alert_says_what_it_is_and_what_to_do() -> None:
    rules = [rule for group in document("prometheus/alerts.yaml")["groups"] for rule in group["rules"]]

    assert len({rule["alert"] for rule in rules}) == len(rules)
    for rule in rules:
        assert rule["for"]
        assert rule["labels"]["severity"] in {"warning", "critical"}
        assert rule["annotations"]["summary"]
        assert len(rule["annotations"]["description"]) > 80


def test_the_dashboard_takes_its_data_source_from_a_variable() -> None:
    dashboard = json.loads((DEPLOY / "grafana/contactsvc.json").read_text())

    assert dashboard["templating"]["list"][0]["type"] == "datasource"
    for panel in dashboard["panels"]:
        for part in (panel, *panel.get("targets", [])):
            assert part.get("datasource", {"uid": "${datasource}"})["uid"] == "${datasource}"
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])
