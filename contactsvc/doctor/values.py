"""The checkup of the values of one environment: normalized values, and the rules that they were written under."""

from __future__ import annotations

from enum import Enum, auto

from contactsvc.doctor.plan import Fix, Plan, Repair
from contactsvc.doctor.report import Check, Finding, Report, Severity, plural
from contactsvc.doctor.sample import Sample
from contactsvc.domain.contact_method import ContactMethod
from contactsvc.domain.kinds import Environment
from contactsvc.domain.normalization import InvalidValue, RulesVersion, ValueRules


class Verdict(Enum):
    """How a stored normalized value compares to what today's rules derive."""

    FITS = auto()
    UNREADABLE = auto()
    """The value is invalid and has no normalized value: it was stored under lenient rules."""
    STALE = auto()
    """The rules derive another one, or, when they are lenient, none."""
    LOST = auto()
    """The strict rules derive none."""


def verdict_on(record: ContactMethod, rules: ValueRules) -> Verdict:
    """Compare the stored normalized value with what the rules derive."""
    stored = record.value.normalized
    try:
        derived = rules.normalize(record.type, record.value.text)
    except InvalidValue:
        if stored is None:
            return Verdict.UNREADABLE
        return Verdict.STALE if rules.lenient else Verdict.LOST
    return Verdict.FITS if stored == derived else Verdict.STALE


class ValueCheckup:
    """The checkup of the values of one environment.

    Args:
        environment: the environment.
        rules: how values are read.
        report: receives the findings.
        plan: receives the repairs.
    """

    def __init__(self, environment: Environment, rules: ValueRules, report: Report, plan: Plan) -> None:
        self._environment = environment
        self._rules = rules
        self._report = report
        self._plan = plan
        self._samples = {verdict: Sample() for verdict in Verdict}
        self._not_found_as_written = Sample()
        # The client of the first contact method with each verdict.
        self._clients: dict[Verdict, str] = {}

    def check(self, record: ContactMethod, *, has_written_key: bool) -> None:
        """Check a contact method, and plan its repair.

        Args:
            record: the contact method.
            has_written_key: see `InspectedDocument`.
        """
        verdict = verdict_on(record, self._rules)
        self._samples[verdict].add(record.id)
        self._clients.setdefault(verdict, record.client_id)
        if verdict is Verdict.STALE:
            # This corrects the written_key as well.
            self._plan.add(Fix(self._environment, Repair.RENORMALIZE, record.id, record.etag))
        elif not has_written_key:
            self._not_found_as_written.add(record.id)
            self._plan.add(Fix(self._environment, Repair.INDEX_AS_WRITTEN, record.id, record.etag))

    def finish(self, recorded: RulesVersion | None, *, is_complete: bool) -> None:
        """Report the findings on all contact methods, one of each kind, and on the recorded rules.

        Args:
            recorded: the rules that are recorded for the environment.
            is_complete: whether every contact method could be read.
        """
        self._report_stale()
        self._report_lost()
        self._report_not_found_as_written()
        self._report_unreadable()
        if any(sample.count for sample in self._samples.values()):
            self._compare(recorded, is_complete=is_complete)

    def _report_stale(self) -> None:
        stale = self._samples[Verdict.STALE]
        self._add(
            Severity.WRONG,
            f"{plural(stale.count, 'contact method')} with another normalized value than {self._todays_rules} derive "
            f"({stale}), which lookups by value may miss; --fix rewrites the normalized value and clears the "
            f"verification, which belongs to it",
            stale,
            client_id=self._clients.get(Verdict.STALE, ""),
            mendable=True,
        )

    def _report_lost(self) -> None:
        lost = self._samples[Verdict.LOST]
        self._add(
            Severity.WRONG,
            f"{plural(lost.count, 'contact method')} with a normalized value, but a value that is invalid under "
            f"{self._todays_rules} ({lost}); pass the --default-region of the service, or correct the value through "
            f"the service (--fix with --value-validation lenient drops the normalized value)",
            lost,
            client_id=self._clients.get(Verdict.LOST, ""),
        )

    def _report_not_found_as_written(self) -> None:
        missed = self._not_found_as_written
        self._add(
            Severity.WRONG,
            f"{plural(missed.count, 'contact method')} without the written_key that belongs to the value ({missed}), "
            f"which lookups by the text as written may miss; --fix writes it",
            missed,
            mendable=True,
        )

    def _report_unreadable(self) -> None:
        unreadable = self._samples[Verdict.UNREADABLE]
        if not self._rules.lenient:
            self._add(
                Severity.NOTE,
                f"{plural(unreadable.count, 'value')} stored under lenient rules cannot be normalized ({unreadable}), "
                f"so lookups by value find them only by the text as written; correct them through the service",
                unreadable,
            )

    def _compare(self, recorded: RulesVersion | None, *, is_complete: bool) -> None:
        """Report recorded rules that differ from today's, and plan to record today's."""
        current = RulesVersion.current(self._rules.default_region)
        if recorded == current:
            return
        if recorded is None:
            severity = Severity.NOTE
            problem = "it is not recorded under which rules the normalized values were written (release 0.1.0 did not)"
        else:
            severity = Severity.WARNING
            problem = f"the normalized values were written under other rules ({recorded})"
        mendable = is_complete and not self._samples[Verdict.LOST].count
        if mendable:
            remedy = f"--fix records today's ({current}) when no normalized value is stale"
            self._plan.add(Fix(self._environment, Repair.RECORD_RULES, str(current)))
        else:
            remedy = f"resolve the findings that --fix cannot repair, then --fix records today's ({current})"
        message = f"{problem}, and the service warns of that at each start; {remedy}"
        self._report.add(
            Finding(
                severity=severity,
                check=Check.VALUE,
                message=message,
                environment=self._environment.value,
                mendable=mendable,
            )
        )

    def _add(
        self, severity: Severity, message: str, sample: Sample, *, client_id: str = "", mendable: bool = False
    ) -> None:
        if not sample.count:
            return
        self._report.add(
            Finding(
                severity=severity,
                check=Check.VALUE,
                message=message,
                environment=self._environment.value,
                ids=sample.ids,
                count=sample.count,
                client_id=client_id if sample.count == 1 else "",
                mendable=mendable,
            )
        )

    @property
    def _todays_rules(self) -> str:
        return f"today's rules (default region: {self._rules.default_region or 'none'})"
