"""The checkup of one environment: problems, their consequences, and their remedies."""

from __future__ import annotations

import json

from contactsvc.doctor.plan import Fix, Plan, Repair
from contactsvc.doctor.report import Check, Finding, Report, Severity, plural
from contactsvc.doctor.sample import named
from contactsvc.doctor.values import ValueCheckup
from contactsvc.domain.clock import Clock
from contactsvc.domain.contact_method import ContactMethod
from contactsvc.domain.kinds import Environment
from contactsvc.domain.normalization import ValueRules
from contactsvc.domain.primary import next_primary
from contactsvc.store import (
    READABLE,
    SCHEMA_VERSION,
    IndexState,
    InspectedDocument,
    InspectedIndex,
    Inspection,
    RecordedRules,
)
from contactsvc.store import DuplicateGroup as Group

# The consequence of a missing index. All others only make lookups fast.
_WITHOUT_INDEX = {
    "primary_slot": "a client can get two primaries of one type",
    "external_id": "two contact methods can get the same external_id",
    "request": "a repeated request can be carried out twice",
    "forget_at": "MongoDB never removes expired idempotency records",
}


class Checkup:
    """The checkup of one environment.

    Args:
        environment: the environment.
        inspection: reads it.
        recorded: the rules that are recorded for it.
        rules: how values are read.
        report: receives the findings.
        plan: receives the repairs.
        clock: the time of the database.
    """

    def __init__(
        self,
        environment: Environment,
        inspection: Inspection,
        recorded: RecordedRules,
        rules: ValueRules,
        report: Report,
        plan: Plan,
        *,
        clock: Clock,
    ) -> None:
        self._clock = clock
        self._environment = environment
        self._inspection = inspection
        self._recorded = recorded
        self._report = report
        self._plan = plan
        self._values = ValueCheckup(environment, rules, report, plan)
        # The indexes that conflict with data that only a person can repair.
        self._blocked: set[str] = set()

    async def run(self) -> None:
        """Run all checks, and plan the repairs in the order in which they must happen."""
        if not await self._inspection.exists():
            self._add(
                Severity.WARNING,
                Check.DATABASE,
                f"collection {self._inspection.collection_name} does not exist: no service has used this database "
                f"yet, or --database is wrong",
            )
            return
        indexes = await self._inspection.indexes()
        async for group in self._inspection.double_primaries():
            await self._check_double_primary(group)
        async for group in self._inspection.shared_external_ids():
            self._add_shared_external_id(group)
        if any(index.name == "request" and index.state is not IndexState.RIGHT for index in indexes):
            # Grouping all requests is expensive, and superfluous where the index holds.
            async for group in self._inspection.shared_requests():
                self._add_shared_request(group)
        creatable = [index.name for index in indexes if self._check_index(index)]
        await self._check_documents()
        await self._check_expired_requests()
        for name in creatable:
            self._plan.add(Fix(self._environment, Repair.CREATE_INDEX, name))

    def _add(
        self,
        severity: Severity,
        check: Check,
        message: str,
        *,
        ids: tuple[str, ...] = (),
        client_id: str = "",
        mendable: bool = False,
    ) -> None:
        self._report.add(
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

    async def _check_double_primary(self, group: Group) -> None:
        found = await self._inspection.find_primaries(group.client_id, group.type)
        readable = [record for record in found if record is not None]
        keeper = next_primary(readable)
        problem = (
            f"client {group.client_id} has {group.size} primaries of type {group.type} ({_named(group)}). Only one is "
            f"allowed, and the service refuses to start"
        )
        if keeper is None or len(readable) != len(found):
            self._blocked.add("primary_slot")
            remedy = "--fix cannot choose, because some of them are invalid: resolve their findings below first"
            self._add(Severity.WRONG, Check.PRIMARY, f"{problem}; {remedy}", ids=group.ids, client_id=group.client_id)
            return
        remedy = f"--fix keeps {keeper.id} (verified first, then oldest) and demotes the others"
        self._add(
            Severity.WRONG,
            Check.PRIMARY,
            f"{problem}; {remedy}",
            ids=group.ids,
            client_id=group.client_id,
            mendable=True,
        )
        for record in readable:
            if record is not keeper:
                self._plan.add(
                    Fix(self._environment, Repair.DEMOTE, record.id, record.etag, keeper.id, keeper.etag),
                )

    def _add_shared_external_id(self, group: Group) -> None:
        self._blocked.add("external_id")
        self._add(
            Severity.WRONG,
            Check.EXTERNAL_ID,
            f"{group.size} contact methods share one external_id ({_named(group)}), and the service refuses to start. "
            f"Decide which one keeps it, and remove it from the others in mongosh: "
            f'db.contact_methods.updateOne({{_id: ID}}, {{$unset: {{external_id: ""}}}})',
            ids=group.ids,
        )

    def _add_shared_request(self, group: Group) -> None:
        self._blocked.add("request")
        self._add(
            Severity.WRONG,
            Check.REQUEST,
            f"{group.size} documents hold the same request_id ({_named(group)}): the request may have been carried out "
            f"twice, and the service refuses to start. Compare them, and remove it from all but one in mongosh: "
            f'db.contact_methods.updateOne({{_id: ID}}, {{$unset: {{request_ids: "", requests: ""}}}})',
            ids=group.ids,
        )

    def _check_index(self, index: InspectedIndex) -> bool:
        """Report an index that differs from its declaration; return whether to create it."""
        if index.state is IndexState.RIGHT:
            return False
        consequence = _WITHOUT_INDEX.get(index.name, "lookups that need it scan the whole collection")
        drop = f"drop it in mongosh with db.contact_methods.dropIndex({json.dumps(index.found)}), then run --fix"
        mendable = index.state is IndexState.MISSING and index.name not in self._blocked
        match index.state:
            case IndexState.OTHER:
                message = f"index {index.name} has another definition than this release needs: {consequence}; {drop}"
            case IndexState.RENAMED:
                message = f"index {index.name} exists as {index.found}, and the service refuses to start; {drop}"
            case _ if mendable:
                message = (
                    f"index {index.name} is missing: {consequence}; --fix or the next start of the service creates it"
                )
            case _:
                message = (
                    f"index {index.name} is missing: {consequence}, and the data conflicts with it; resolve the "
                    f"{index.name} findings that --fix cannot repair, then run --fix"
                )
        self._add(Severity.WRONG, Check.INDEX, message, mendable=mendable)
        return mendable

    async def _check_documents(self) -> None:
        count = earlier = of_no_layout = unread = expired_challenges = 0
        now = self._clock()
        async for document in self._inspection.documents():
            count += document.client_id is not None
            earlier += document.is_of_earlier_layout
            of_no_layout += document.is_of_no_layout and not document.faults
            if document.is_of_newer_layout:
                unread += document.client_id is not None
                self._add_newer_layout(document)
            elif document.faults:
                unread += document.client_id is not None
                self._add_faulty(document)
            elif document.record is not None:
                challenge = document.record.challenge
                expired_challenges += challenge is not None and challenge.is_expired(now)
                if not document.is_findable:
                    # Before the check of the value, whose repair changes the etag.
                    self._add_wrong_primary_key(document.record)
                self._values.check(document.record, has_written_key=document.has_written_key)
        self._report.documents[self._environment] = count
        if earlier:
            self._add_earlier_layouts(earlier)
        if of_no_layout:
            self._add_unknown_layouts(of_no_layout)
        if expired_challenges:
            self._add_expired_challenges(expired_challenges)
        self._values.finish(await self._recorded.find(), is_complete=not unread)

    def _add_earlier_layouts(self, count: int) -> None:
        self._add(
            Severity.WARNING,
            Check.LAYOUT,
            f"{plural(count, 'document')} of a layout before {SCHEMA_VERSION}, written by an earlier release. The "
            f"service reads them, at the cost of a second query for a primary. --fix migrates them while services run; "
            f"wait for the last service of the earlier release to stop, as it writes more of them",
            mendable=True,
        )
        # It keeps etags, so the rest of the plan stays valid.
        self._plan.add(Fix(self._environment, Repair.MIGRATE))

    def _add_unknown_layouts(self, count: int) -> None:
        query = f"{{schema_version: {{$nin: {[*READABLE]}, $not: {{$gt: {SCHEMA_VERSION}}}}}}}"
        self._add(
            Severity.WARNING,
            Check.LAYOUT,
            f"{plural(count, 'document')} with an invalid schema_version. The service and doctor read them as version "
            f"{SCHEMA_VERSION}; set it in mongosh with "
            f"db.contact_methods.updateMany({query}, {{$set: {{schema_version: {SCHEMA_VERSION}}}}})",
        )

    def _add_expired_challenges(self, count: int) -> None:
        self._add(
            Severity.NOTE,
            Check.CHALLENGE,
            f"{plural(count, 'expired challenge')} of verifications, which hold no code; the next start of a "
            f"verification replaces its challenge, and --fix removes all of them now",
            mendable=True,
        )
        # It keeps etags, so the rest of the plan stays valid.
        self._plan.add(Fix(self._environment, Repair.REMOVE_CHALLENGES))

    def _add_newer_layout(self, document: InspectedDocument) -> None:
        self._add(
            Severity.WRONG,
            Check.DOCUMENT,
            f"{_named_document(document)} has schema_version {document.schema_version} of a newer release. This "
            f"release neither reads nor writes it, and calls that meet it fail; run the service and doctor of the "
            f"newer release",
            ids=(document.id,),
            client_id=document.client_id or "",
        )

    def _add_faulty(self, document: InspectedDocument) -> None:
        problem = f"{_named_document(document)} has missing or invalid fields: {', '.join(document.faults)}"
        delete = "Delete it in mongosh with db.contact_methods.deleteOne({_id: ID})"
        if document.client_id is None and "client_id" not in document.faults:
            message = f"{problem}. The requests that it remembers fail when repeated, or are never forgotten. {delete}"
        else:
            message = (
                f"{problem}. Calls, exports and imports that meet it fail. {delete}, then import it from a backup with "
                f"`contactsvc import`, or create it again through the service"
            )
        self._add(Severity.WRONG, Check.DOCUMENT, message, ids=(document.id,), client_id=document.client_id or "")

    def _add_wrong_primary_key(self, record: ContactMethod) -> None:
        self._add(
            Severity.WRONG,
            Check.PRIMARY,
            f"the primary_key of {record.id} of client {record.client_id} contradicts its is_primary "
            f"({'true' if record.is_primary else 'false'}), so that lookups of the primary go wrong; --fix corrects it",
            ids=(record.id,),
            client_id=record.client_id,
            mendable=True,
        )
        self._plan.add(Fix(self._environment, Repair.MAKE_FINDABLE, record.id, record.etag))

    async def _check_expired_requests(self) -> None:
        count = await self._inspection.count_expired(self._clock())
        if not count:
            return
        self._add(
            Severity.NOTE,
            Check.MEMORY,
            f"{plural(count, 'document')} with only expired idempotency records; MongoDB removes them within minutes, "
            f"the embedded database within the hour while a service runs, and --fix now",
            mendable=True,
        )
        self._plan.add(Fix(self._environment, Repair.FORGET))


def _named_document(document: InspectedDocument) -> str:
    if document.client_id is None:
        return f"document {document.id}"
    return f"contact method {document.id} of client {document.client_id}"


def _named(group: Group) -> str:
    return named(group.ids, group.size)
