from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from contactsvc.doctor import Check, Finding, Fix, Repair, Report, Severity, Verdict, planning, run, verdict_on
from contactsvc.domain.contact_method import ContactMethod
from contactsvc.domain.kinds import ContactMethodType, ContactValue, Environment
from contactsvc.domain.normalization import ValueRules

STRICT, LENIENT = ValueRules(), ValueRules(lenient=True)
IN_MEXICO = ValueRules(default_region="MX")
NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)
PHONE = ContactMethod(
    id="contact_1",
    client_id="client_1",
    type=ContactMethodType.PHONE,
    value=ContactValue("", None),
    label=None,
    is_primary=False,
    verified_at=None,
    external_id=None,
    metadata={},
    created_at=NOON,
    updated_at=NOON,
    etag="etag",
)
FINDING = Finding(
    severity=Severity.WRONG,
    check=Check.VALUE,
    message="it is stale",
    environment="live",
    ids=("contact_1",),
    client_id="client_1",
    mendable=True,
)


@pytest.mark.parametrize(
    ("rules", "text", "normalized", "verdict"),
    [
        (STRICT, "+52 55 1234 5678", "+525512345678", Verdict.FITS),
        (STRICT, "+52 1 55 1234 5678", "+5215512345678", Verdict.STALE),
        (STRICT, "+52 55 1234 5678", None, Verdict.STALE),
        (IN_MEXICO, "55 1234 5678", "+525512345678", Verdict.FITS),
        (STRICT, "55 1234 5678", "+525512345678", Verdict.LOST),
        (LENIENT, "55 1234 5678", "+525512345678", Verdict.STALE),
        (LENIENT, "ask reception", None, Verdict.UNREADABLE),
        (STRICT, "ask reception", None, Verdict.UNREADABLE),
    ],
)
def test_a_normalized_value_is_compared_to_what_the_rules_derive(
    rules: ValueRules, text: str, normalized: str | None, verdict: Verdict
) -> None:
    assert verdict_on(replace(PHONE, value=ContactValue(text, normalized)), rules) is verdict


def test_a_plan_keeps_its_repairs_and_their_order() -> None:
    fixes = [
        Fix(Environment.LIVE, Repair.DEMOTE, "contact_2", "etag 2", "contact_1", "etag 1"),
        Fix(Environment.TEST, Repair.FORGET),
        Fix(Environment.LIVE, Repair.CREATE_INDEX, "primary_slot"),
    ]

    with planning() as plan:
        for fix in fixes:
            plan.add(fix)

        assert len(plan) == 3
        assert list(plan) == fixes
        assert list(plan) == fixes


@pytest.mark.parametrize(("severity", "code"), [(Severity.WRONG, 1), (Severity.WARNING, 0), (Severity.NOTE, 0)])
def test_only_wrong_findings_change_the_exit_code(severity: Severity, code: int) -> None:
    report = Report(lambda _: None, as_json=False)

    report.add(replace(FINDING, severity=severity))

    assert report.exit_code == code


def test_a_report_in_text_has_a_line_for_each_event() -> None:
    lines: list[str] = []
    report = Report(lines.append, as_json=False)
    fix = Fix(Environment.LIVE, Repair.RENORMALIZE, "contact_1", "etag")

    report.add(FINDING)
    report.add_planned(fix)
    report.add_result(fix, "")
    report.add_result(fix, "changed by another writer")
    report.summarize()

    assert lines == [
        "wrong    live: it is stale",
        "plan     live: rewrite the normalized value of contact_1",
        "fixed    live: rewrite the normalized value of contact_1",
        "skipped  live: rewrite the normalized value of contact_1: changed by another writer",
        "1 wrong; contactsvc doctor --fix repairs 1 of these",
    ]


def test_a_report_in_json_has_an_object_for_each_event() -> None:
    lines: list[str] = []
    report = Report(lines.append, as_json=True)

    report.add(FINDING)
    report.print_text("only in text")
    report.add_result(Fix(Environment.LIVE, Repair.RENORMALIZE, "contact_1", "etag"), "")
    report.add_result(Fix(Environment.LIVE, Repair.RENORMALIZE, "contact_1", "etag"), "changed by another writer")
    report.documents[Environment.LIVE] = 7
    report.summarize()

    assert [json.loads(line) for line in lines] == [
        {
            "event": "finding",
            "severity": "wrong",
            "check": "value",
            "message": "it is stale",
            "environment": "live",
            "ids": ["contact_1"],
            "client_id": "client_1",
            "mendable": True,
        },
        {
            "event": "mended",
            "environment": "live",
            "repair": "renormalize",
            "target": "contact_1",
            "etag": "etag",
        },
        {
            "event": "skipped",
            "environment": "live",
            "repair": "renormalize",
            "target": "contact_1",
            "etag": "etag",
            "message": "changed by another writer",
        },
        {
            "event": "summary",
            "wrong": 1,
            "warning": 0,
            "note": 0,
            "mendable": 1,
            "contact_methods": {"live": 7},
        },
    ]


def test_the_names_in_a_json_report_are_those_of_release_0_1_0() -> None:
    assert list(Severity) == ["wrong", "warning", "note"]
    assert list(Check)[:10] == [
        "configuration",
        "database",
        "index",
        "primary",
        "external_id",
        "request",
        "document",
        "layout",
        "value",
        "memory",
    ]
    assert list(Repair)[:6] == ["demote", "renormalize", "make_findable", "migrate", "forget", "create_index"]
    assert list(Check)[10:] == ["challenge"], "new since then"
    assert list(Repair)[6:] == ["index_as_written", "record_rules", "remove_challenges"], "new since then"


STALE = [Fix(Environment.LIVE, Repair.RENORMALIZE, f"contact_{i}", "etag") for i in range(5)]


def test_repairs_of_one_kind_are_carried_out_in_groups_in_their_order() -> None:
    demotion = Fix(Environment.LIVE, Repair.DEMOTE, "contact_9")
    elsewhere = replace(STALE[0], environment=Environment.TEST)

    with planning() as plan:
        for fix in (demotion, demotion, *STALE, demotion, STALE[0], elsewhere):
            plan.add(fix)

        assert list(plan.groups(2)) == [
            [demotion],
            [demotion],
            STALE[:2],
            STALE[2:4],
            STALE[4:],
            [demotion],
            [STALE[0]],
            [elsewhere],
        ]
        assert list(plan.groups(100))[2] == STALE


def test_many_planned_repairs_of_one_kind_are_summarized() -> None:
    lines: list[str] = []
    text, as_json = Report(lines.append, as_json=False), Report(lines.append, as_json=True)

    with planning() as plan:
        plan.add(Fix(Environment.LIVE, Repair.FORGET))
        for i in range(50_000):
            plan.add(Fix(Environment.LIVE, Repair.RENORMALIZE, f"contact_{i}", "etag"))
        for report in (text, as_json):
            for planned in plan.summary():
                report.add_planned(planned)

    ids = [f"contact_{i}" for i in range(20)]
    assert len(lines) == 4
    assert lines[1] == f"plan     live: rewrite the normalized value of {', '.join(ids)} and 49980 more"
    assert json.loads(lines[3]) == {
        "event": "plan",
        "environment": "live",
        "repair": "renormalize",
        "ids": ids,
        "count": 50_000,
    }


def test_all_invalid_settings_are_one_finding_with_exit_code_2(tmp_path: Path) -> None:
    lines: list[str] = []
    flags = {"driver": "odbc", "data_dir": str(tmp_path / "absent")}

    code = run(
        flags,
        {"CONTACTSVC_DEFAULT_REGION": "ZZ"},
        fix=True,
        report=Report(lines.append, as_json=True),
        confirm=lambda _: True,
    )

    finding = json.loads(lines[0])
    assert (code, finding["check"]) == (2, "configuration")
    assert "--driver" in finding["message"]
    assert "CONTACTSVC_DEFAULT_REGION" in finding["message"]
    assert not (tmp_path / "absent").exists()
