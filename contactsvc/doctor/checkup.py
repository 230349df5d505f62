"""The examination of one environment: what is wrong, why that matters, and what can be done about it."""

from __future__ import annotations

import json
from enum import Enum, auto

from contactsvc.doctor.plan import Fix, Plan, Repair
from contactsvc.doctor.report import Check, Finding, Report, Severity, plural
from contactsvc.domain.clock import now_utc
from contactsvc.domain.contact_method import ContactMethod
from contactsvc.domain.kinds import Environment
from contactsvc.domain.normalization import InvalidValue, ValueRules
from contactsvc.domain.primary import next_primary
from contactsvc.store import MAX_GROUP_IDS as MOST_NAMED
from contactsvc.store import READABLE, SCHEMA_VERSION, IndexState, InspectedDocument, InspectedIndex, Inspection
from contactsvc.store import DuplicateGroup as Group

# What becomes of the service without an index; all others only make lookups fast.
_WITHOUT_INDEX = {
    "primary_slot": "nothing keeps a client from having two primaries",
    "external_id": "nothing keeps two contact methods from having one external id",
    "request": "nothing keeps a repeated request from writing twice",
    "forget_at": "MongoDB never removes what only remembers requests",
}


class Verdict(Enum):
    """What today's rules say of a stored value and its normalized form."""

    FITS = auto()
    UNREADABLE = auto()
    """It cannot be read, and has no normalized form: kept by lenient rules, at some time."""
    STALE = auto()
    """The normalized form is another one, or to be dropped under lenient rules."""
    LOST = auto()
    """It could be read once, and strict rules cannot any more."""


def verdict_on(record: ContactMethod, rules: ValueRules) -> Verdict:
    """Compare the stored normalized form with what the rules make of the value."""
    stored = record.value.normalized
    try:
        fresh = rules.normalize(record.type, record.value.text)
    except InvalidValue:
        if stored is None:
            return Verdict.UNREADABLE
        return Verdict.STALE if rules.lenient else Verdict.LOST
    return Verdict.FITS if stored == fresh else Verdict.STALE


class Checkup:
    """The examination of one environment."""

    def __init__(
        self, environment: Environment, examination: Inspection, rules: ValueRules, report: Report, plan: Plan
    ) -> None:
        self._environment = environment
        self._examination = examination
        self._rules = rules
        self._report = report
        self._plan = plan
        # Indexes that data stands against which no machine can mend.
        self._blocked: set[str] = set()
        self._unreadable: list[str] = []
        self._count_unreadable = 0

    async def run(self) -> None:
        """Check everything; plan in the order in which it has to be mended."""
        if not await self._examination.exists():
            self._find(
                Severity.WARNING,
                Check.DATABASE,
                f"there is no collection {self._examination.collection_name}: no service has used this database yet, "
                f"or --database names the wrong one",
            )
            return
        indexes = await self._examination.indexes()
        async for group in self._examination.double_primaries():
            await self._double_primary(group)
        async for group in self._examination.shared_external_ids():
            self._shared_external_id(group)
        if any(index.name == "request" and index.state is not IndexState.RIGHT for index in indexes):
            # Only then: it groups all requests that are remembered, and the index makes it impossible.
            async for group in self._examination.shared_requests():
                self._shared_request(group)
        creatable = [index.name for index in indexes if self._index(index)]
        await self._documents()
        await self._memories()
        for name in creatable:
            self._plan.add(Fix(self._environment, Repair.CREATE_INDEX, name))

    def _find(
        self,
        severity: Severity,
        check: Check,
        message: str,
        *,
        ids: tuple[str, ...] = (),
        client_id: str = "",
        mendable: bool = False,
    ) -> None:
        self._report.find(
            Finding(
                severity=severity,
                check=check,
                message=message,
                environment=self._environment.value,
                ids=ids,
                client_id=client_id,
                mendable=mendable,
            )
        )

    async def _double_primary(self, group: Group) -> None:
        found = await self._examination.find_primaries(group.client_id, group.type)
        sound = [record for record in found if record is not None]
        keeper = next_primary(sound)
        what = (
            f"client {group.client_id} has {group.size} primaries of type {group.type} ({_named(group)}) and may have "
            f"one, so the service refuses to start"
        )
        if keeper is None or len(sound) != len(found):
            self._blocked.add("primary_slot")
            how = "--fix cannot choose, because not all of them are sound; mend what is said of them below first"
            self._find(Severity.WRONG, Check.PRIMARY, f"{what}; {how}", ids=group.ids, client_id=group.client_id)
            return
        how = f"--fix keeps {keeper.id} (verified ones first, then the oldest) and demotes the rest"
        self._find(
            Severity.WRONG, Check.PRIMARY, f"{what}; {how}", ids=group.ids, client_id=group.client_id, mendable=True
        )
        for record in sound:
            if record is not keeper:
                self._plan.add(
                    Fix(self._environment, Repair.DEMOTE, record.id, record.etag, keeper.id, keeper.etag),
                )

    def _shared_external_id(self, group: Group) -> None:
        self._blocked.add("external_id")
        self._find(
            Severity.WRONG,
            Check.EXTERNAL_ID,
            f"{group.size} contact methods share one external id ({_named(group)}), so the service refuses to start; "
            f"no machine knows whose it is: decide which one keeps it, and take it from the others, in mongosh with "
            f'db.contact_methods.updateOne({{_id: ID}}, {{$unset: {{external_id: ""}}}})',
            ids=group.ids,
        )

    def _shared_request(self, group: Group) -> None:
        self._blocked.add("request")
        self._find(
            Severity.WRONG,
            Check.REQUEST,
            f"{group.size} documents remember one and the same request ({_named(group)}), so it may have been carried "
            f"out twice, and the service refuses to start; compare them, and let all but one forget it, in mongosh "
            f'with db.contact_methods.updateOne({{_id: ID}}, {{$unset: {{request_ids: "", requests: ""}}}})',
            ids=group.ids,
        )

    def _index(self, index: InspectedIndex) -> bool:
        """Report an index that is not as it should be; tell whether it is to be created."""
        if index.state is IndexState.RIGHT:
            return False
        why = _WITHOUT_INDEX.get(index.name, "the lookups that need it read the whole collection")
        drop = f"drop it, in mongosh with db.contact_methods.dropIndex({json.dumps(index.found)}), and run --fix"
        mendable = index.state is IndexState.MISSING and index.name not in self._blocked
        match index.state:
            case IndexState.OTHER:
                message = f"the index {index.name} is not declared as this version needs it: {why}; {drop}"
            case IndexState.RENAMED:
                message = f"the index {index.name} has the name {index.found}, and the service refuses to start; {drop}"
            case _ if mendable:
                message = f"the index {index.name} is missing: {why}; --fix or the next start of the service creates it"
            case _:
                message = (
                    f"the index {index.name} is missing: {why}, and something has come of it; mend the {index.name} "
                    f"findings that --fix does not mend, then run --fix"
                )
        self._find(Severity.WRONG, Check.INDEX, message, mendable=mendable)
        return mendable

    async def _documents(self) -> None:
        count = earlier = of_no_layout = 0
        async for document in self._examination.documents():
            count += document.client_id is not None
            earlier += document.is_of_earlier_layout
            of_no_layout += document.is_of_no_layout and not document.faults
            if document.is_of_newer_layout:
                self._newer_layout(document)
            elif document.faults:
                self._faulty(document)
            elif document.record is not None:
                self._value(document.record)
                if not document.is_findable:
                    self._unfindable(document.record)
        self._report.documents[self._environment] = count
        if earlier:
            self._earlier_layouts(earlier)
        if of_no_layout:
            self._no_layout(of_no_layout)
        if self._count_unreadable and not self._rules.lenient:
            some = _named(Group("", "", tuple(self._unreadable), self._count_unreadable))
            self._find(
                Severity.NOTE,
                Check.VALUE,
                f"{plural(self._count_unreadable, 'value')} cannot be read as what they claim to be ({some}); lenient "
                f"rules have let them in, and lookups by value do not find them: correct them through the service",
                ids=tuple(self._unreadable),
            )

    def _earlier_layouts(self, count: int) -> None:
        self._find(
            Severity.WARNING,
            Check.LAYOUT,
            f"{plural(count, 'document')} of a layout before {SCHEMA_VERSION}, written by an earlier release; the "
            f"service reads them, with one question more for a primary; --fix migrates them beside running services, "
            f"best when the last service of the earlier release has stopped, since that one goes on writing such",
            mendable=True,
        )
        # It leaves etags as they are, and so the rest of the plan as good as it was.
        self._plan.add(Fix(self._environment, Repair.MIGRATE))

    def _no_layout(self, count: int) -> None:
        query = f"{{schema_version: {{$nin: {[*READABLE]}, $not: {{$gt: {SCHEMA_VERSION}}}}}}}"
        self._find(
            Severity.WARNING,
            Check.LAYOUT,
            f"{plural(count, 'document')} of no layout that there ever was; the service reads them as if they were of "
            f"layout {SCHEMA_VERSION}, and doctor examines them as such; say so, in mongosh with "
            f"db.contact_methods.updateMany({query}, {{$set: {{schema_version: {SCHEMA_VERSION}}}}})",
        )

    def _newer_layout(self, document: InspectedDocument) -> None:
        self._find(
            Severity.WRONG,
            Check.DOCUMENT,
            f"{_document(document)} has a layout that this version does not know (schema_version "
            f"{document.schema_version}): a newer one has written it, and this one neither reads nor writes it, so "
            f"calls that meet it fail; run the service and doctor of that version",
            ids=(document.id,),
            client_id=document.client_id or "",
        )

    def _faulty(self, document: InspectedDocument) -> None:
        what = f"{_document(document)} has no usable {', '.join(document.faults)}"
        delete = "delete it, in mongosh with db.contact_methods.deleteOne({_id: ID})"
        if document.client_id is None and "client_id" not in document.faults:
            message = f"{what}, so that the requests it remembers fail when repeated, or are never forgotten; {delete}"
        else:
            message = (
                f"{what}, so calls that meet it fail, as exports and imports do; {delete}, and bring it back with "
                f"`contactsvc import` of a backup, or create it anew through the service"
            )
        self._find(Severity.WRONG, Check.DOCUMENT, message, ids=(document.id,), client_id=document.client_id or "")

    def _unfindable(self, record: ContactMethod) -> None:
        self._find(
            Severity.WRONG,
            Check.PRIMARY,
            f"{record.id} of client {record.client_id} is {'' if record.is_primary else 'not '}primary, but its "
            f"primary_key says otherwise, so that the question for the primary is answered wrongly; --fix mends it",
            ids=(record.id,),
            client_id=record.client_id,
            mendable=True,
        )
        self._plan.add(Fix(self._environment, Repair.MAKE_FINDABLE, record.id, record.etag))

    def _value(self, record: ContactMethod) -> None:
        verdict = verdict_on(record, self._rules)
        if verdict is Verdict.FITS:
            return
        if verdict is Verdict.UNREADABLE:
            self._count_unreadable += 1
            if self._count_unreadable <= MOST_NAMED:
                self._unreadable.append(record.id)
            return
        what = f"the normalized value of {record.id} ({record.type} of client {record.client_id}) is not what"
        rules = f"(default region: {self._rules.default_region or 'none'})"
        mendable = verdict is Verdict.STALE
        if mendable:
            message = (
                f"{what} today's rules {rules} make of its value, so lookups by value miss it; --fix writes it anew "
                f"and clears its verification"
            )
            self._plan.add(Fix(self._environment, Repair.RENORMALIZE, record.id, record.etag))
        else:
            message = (
                f"{what} today's rules {rules} say: they cannot read its value; name the --default-region that the "
                f"service has, or correct the value through the service (--value-validation lenient with --fix drops "
                f"the normalized value)"
            )
        self._find(
            Severity.WRONG, Check.VALUE, message, ids=(record.id,), client_id=record.client_id, mendable=mendable
        )

    async def _memories(self) -> None:
        count = await self._examination.count_expired(now_utc())
        if not count:
            return
        self._find(
            Severity.NOTE,
            Check.MEMORY,
            f"{plural(count, 'document')} only remember requests that are over; MongoDB removes them within minutes, "
            f"the embedded database when the service starts, and --fix now",
            mendable=True,
        )
        self._plan.add(Fix(self._environment, Repair.FORGET))


def _document(document: InspectedDocument) -> str:
    if document.client_id is None:
        return f"the document {document.id}"
    return f"the contact method {document.id} of client {document.client_id}"


def _named(group: Group) -> str:
    more = group.size - len(group.ids)
    return ", ".join(group.ids) + (f" and {more} more" if more else "")
