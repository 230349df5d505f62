"""Carries out planned repairs, except on records that changed since the checkup."""

from __future__ import annotations

from collections.abc import Sequence

from contactsvc.doctor.plan import BATCHED, Fix, FixBatch, Plan, Repair
from contactsvc.doctor.report import Check, Finding, Report, Severity
from contactsvc.doctor.sample import Sample
from contactsvc.doctor.values import Verdict, verdict_on
from contactsvc.domain.clock import Clock
from contactsvc.domain.contact_method import ContactMethod, changed
from contactsvc.domain.ids import new_etag
from contactsvc.domain.kinds import ContactMethodType, Environment
from contactsvc.domain.normalization import InvalidValue, RulesVersion, ValueRules, written_form
from contactsvc.store import RecordedRules, Repairs

_CHANGED = "changed by another writer since the checkup; run doctor again"
# Lines of progress are printed whenever this share of a kind of repair is done.
_PROGRESS_SHARE = 0.05

_Change = tuple[ContactMethod, ContactMethod]


class Repairer:
    """Carries out repairs in one environment, and reports their results.

    An interrupted repair keeps what is written, and the next run of doctor plans the rest.

    Args:
        environment: the environment.
        repairs: reads and writes the contact methods of the environment.
        recorded: the rules that are recorded for the environment.
        rules: how values are read.
        report: receives the results.
        plan: the whole plan.
        clock: the time of the database.
    """

    def __init__(
        self,
        environment: Environment,
        repairs: Repairs,
        recorded: RecordedRules,
        rules: ValueRules,
        report: Report,
        plan: Plan,
        *,
        clock: Clock,
    ) -> None:
        self._clock = clock
        self._environment = environment
        self._repairs = repairs
        self._recorded = recorded
        self._rules = rules
        self._report = report
        self._totals = {repair: plan.count(environment, repair) for repair in BATCHED}
        self._done = {repair: Sample() for repair in BATCHED}
        self._skipped = {repair: Sample() for repair in BATCHED}
        self._printed = dict.fromkeys(BATCHED, 0)
        # The etags that demotions left, by id: a demoted record may have another repair.
        self._etags: dict[str, str] = {}

    async def carry_out(self, fixes: Sequence[Fix]) -> None:
        """Carry out repairs.

        Args:
            fixes: one repair, or several of one kind in `BATCHED`; at most as many as `Repairs` accepts.
        """
        repair = fixes[0].repair
        if repair not in BATCHED:
            (fix,) = fixes
            self._report.add_result(fix, await self._apply(fix))
            return
        found = await self._repairs.find_all({fix.target: self._etags.get(fix.target, fix.etag) for fix in fixes})
        changes = [(present, after) for present in found.values() if (after := self._after(repair, present))]
        if repair is Repair.RENORMALIZE:
            # Before they are written, so that an interruption between the two loses no finding.
            await self._report_equal(changes)
        written = await self._repairs.replace_all(changes)
        for fix in fixes:
            (self._done if fix.target in written else self._skipped)[repair].add(fix.target)
        self._report_progress(repair)

    def report_unfinished(self) -> None:
        """Report the results so far of repairs that are carried out many at a time, and were interrupted."""
        for repair in BATCHED:
            if 0 < self._tried(repair) < self._totals[repair]:
                self._report_results(repair)

    async def _apply(self, fix: Fix) -> str:
        """Carry out a repair; return why it was skipped, or an empty string."""
        match fix.repair:
            case Repair.DEMOTE:
                return await self._demote(fix)
            case Repair.MAKE_FINDABLE:
                present = await self._repairs.find(fix.target, self._etags.get(fix.target, fix.etag))
                return "" if present is not None and await self._repairs.make_findable(present) else _CHANGED
            case Repair.MIGRATE:
                await self._repairs.migrate()
                return ""
            case Repair.FORGET:
                await self._repairs.remove_expired(self._clock())
                return ""
            case Repair.REMOVE_CHALLENGES:
                await self._repairs.remove_expired_challenges(self._clock())
                return ""
            case Repair.CREATE_INDEX:
                if await self._repairs.create_index(fix.target):
                    return ""
                return "conflicts with the data or another index; see the findings below"
            case Repair.RECORD_RULES:
                return await self._record_rules()
            case Repair.RENORMALIZE | Repair.INDEX_AS_WRITTEN:
                raise AssertionError("carried out many at a time")

    async def _demote(self, fix: Fix) -> str:
        # If the keeper is not primary any more, demoting this one would leave none.
        keeper = await self._repairs.find(fix.keeper, fix.keeper_etag)
        present = await self._repairs.find(fix.target, fix.etag)
        if keeper is None or not keeper.is_primary or present is None:
            return _CHANGED
        after = changed(present, {"is_primary": False}, now=self._clock(), etag=new_etag())
        if not await self._repairs.replace(present, after):
            return _CHANGED
        self._etags[after.id] = after.etag
        return ""

    async def _record_rules(self) -> str:
        if self._skipped[Repair.RENORMALIZE].count:
            return "some records changed during the repair, and may be stale; run doctor again"
        await self._recorded.record(RulesVersion.current(self._rules.default_region), self._clock())
        return ""

    def _after(self, repair: Repair, present: ContactMethod) -> ContactMethod | None:
        """Return a record as it should be stored; None if it has another fault by now."""
        if repair is Repair.INDEX_AS_WRITTEN:
            return present
        try:
            value = self._rules.read(present.type, present.value.text)
        except InvalidValue:
            return None
        return changed(present, {"value": value}, now=self._clock(), etag=new_etag())

    async def _report_equal(self, changes: Sequence[_Change]) -> None:
        """Report records of one client that differ before some changes, and have the same normalized value after."""
        groups: dict[tuple[str, ContactMethodType, str], Sample] = {}
        before: dict[tuple[str, ContactMethodType, str], set[str]] = {}
        for present, after in changes:
            if after.value.normalized is not None:
                key = after.client_id, after.type, after.value.normalized
                groups.setdefault(key, Sample()).add(after.id)
                before.setdefault(key, set()).add(present.value.normalized or written_form(present.value.text))
        changing = {present.id for present, _ in changes}
        async for other in self._repairs.with_normal_forms(groups.keys()):
            # A stale one is reported when it is renewed itself.
            if other.id not in changing and verdict_on(other, self._rules) is not Verdict.STALE:
                key = other.client_id, other.type, other.value.normalized or ""
                groups[key].add(other.id)
                before[key].add(key[2])
        for key, sample in groups.items():
            if sample.count > 1 and len(before[key]) > 1:
                self._report.add(self._equal(sample, key[0], key[1]))

    def _equal(self, sample: Sample, client_id: str, type_: ContactMethodType) -> Finding:
        return Finding(
            severity=Severity.NOTE,
            check=Check.VALUE,
            message=(
                f"{sample.count} contact methods of client {client_id} and type {type_} get the same normalized value "
                f"({sample}), which they did not have before. doctor keeps all of them; delete superfluous ones "
                f"through the service"
            ),
            environment=self._environment.value,
            ids=sample.ids,
            count=sample.count,
            client_id=client_id,
        )

    def _tried(self, repair: Repair) -> int:
        return self._done[repair].count + self._skipped[repair].count

    def _report_progress(self, repair: Repair) -> None:
        tried, total = self._tried(repair), self._totals[repair]
        if tried == total:
            self._report_results(repair)
        elif tried - self._printed[repair] >= total * _PROGRESS_SHARE:
            self._printed[repair] = tried
            self._report.add_progress(self._environment, repair, tried, total)

    def _report_results(self, repair: Repair) -> None:
        for sample, obstacle in ((self._done[repair], ""), (self._skipped[repair], _CHANGED)):
            if sample.count:
                self._report.add_result(FixBatch(self._environment, repair, sample.ids, sample.count), obstacle)
