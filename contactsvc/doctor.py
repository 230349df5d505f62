"""`contactsvc doctor`: what is checked, the plan of what can be mended, and the report.

It looks at what the service takes for granted: settings, database, indexes, and documents that keep the rules. Looking
changes nothing. What it reports names ids and never contact values, so that it can go into a ticket. Knows no driver:
store/examination.py reads and writes.

Reading takes constant memory, however much is wrong: findings are printed as they come, and the plan is spooled to a
temporary file (of ids and etags), because people want to see it before anything is done.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import asdict, dataclass, field
from enum import Enum, StrEnum, auto
from typing import IO, Any

from contactsvc import config, embedded, store
from contactsvc.config import Settings
from contactsvc.domain.contact_method import ContactMethod, changed
from contactsvc.domain.environment import Environment
from contactsvc.domain.ids import new_etag, now_utc
from contactsvc.domain.primary import next_primary
from contactsvc.domain.values import InvalidValue, ValueRules
from contactsvc.errors import ConfigurationError, ContactsvcError, StartupError
from contactsvc.store.examination import (
    MOST_NAMED,
    Examination,
    ExaminedDocument,
    ExaminedIndex,
    Group,
    IndexState,
    examination_of,
)

FOUND = 1
"""The exit code when something is wrong, or the database cannot be examined."""

# What becomes of the service without an index; all others only make lookups fast.
_WITHOUT_INDEX = {
    "primary_slot": "nothing keeps a client from having two primaries",
    "external_id": "nothing keeps two contact methods from having one external id",
    "request": "nothing keeps a repeated request from writing twice",
    "forget_at": "MongoDB never removes what only remembers requests",
}


class Severity(StrEnum):
    """How bad a finding is; only `WRONG` makes the exit code 1."""

    WRONG = "wrong"
    WARNING = "warning"
    NOTE = "note"


class Check(StrEnum):
    """What a finding is about."""

    CONFIGURATION = "configuration"
    DATABASE = "database"
    INDEX = "index"
    PRIMARY = "primary"
    EXTERNAL_ID = "external_id"
    REQUEST = "request"
    DOCUMENT = "document"
    VALUE = "value"
    MEMORY = "memory"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One line of the report.

    Attributes:
        severity: how bad it is.
        check: what it is about.
        message: what is wrong, why that matters and what to do; holds no contact value.
        environment: `live` or `test`; empty for what concerns both.
        ids: of the documents, 20 at most.
        client_id: whose they are; empty when that is unknown or says nothing.
        mendable: whether --fix mends it.
    """

    severity: Severity
    check: Check
    message: str
    environment: str = ""
    ids: tuple[str, ...] = ()
    client_id: str = ""
    mendable: bool = False


class Repair(StrEnum):
    """What can be done about a finding."""

    DEMOTE = "demote"
    RENORMALIZE = "renormalize"
    MAKE_FINDABLE = "make_findable"
    FORGET = "forget"
    CREATE_INDEX = "create_index"


@dataclass(frozen=True, slots=True)
class Fix:
    """A planned change.

    Attributes:
        environment: where.
        repair: what to do.
        target: the id of the contact method, or the name of the index.
        etag: of the contact method as it was examined. It is changed only if it still is that.
        keeper: when demoting, the id of the contact method that stays primary.
        keeper_etag: and its etag.
    """

    environment: Environment
    repair: Repair
    target: str = ""
    etag: str = ""
    keeper: str = ""
    keeper_etag: str = ""

    def __str__(self) -> str:
        match self.repair:
            case Repair.DEMOTE:
                return f"demote {self.target}, so that {self.keeper} is the only primary of its client and type"
            case Repair.RENORMALIZE:
                return f"write the normalized value of {self.target} anew"
            case Repair.MAKE_FINDABLE:
                return f"write anew by what {self.target} is found as a primary"
            case Repair.FORGET:
                return "remove the documents that remember only requests that are over"
            case Repair.CREATE_INDEX:
                return f"create the index {self.target}"


class Plan:
    """The planned changes, in their order, in a file."""

    def __init__(self, file: IO[str]) -> None:
        self._file = file
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[Fix]:
        self._file.seek(0)
        for line in self._file:
            fix = json.loads(line)
            yield Fix(**{**fix, "environment": Environment(fix["environment"]), "repair": Repair(fix["repair"])})

    def add(self, fix: Fix) -> None:
        """Plan one more change; not while iterating."""
        self._file.write(json.dumps(asdict(fix)) + "\n")
        self._size += 1


@contextmanager
def planning() -> Iterator[Plan]:
    """Yield an empty plan in a temporary file, until the end of the block."""
    with tempfile.TemporaryFile("w+", encoding="utf-8") as file:
        yield Plan(file)


@dataclass(slots=True)
class Report:
    """Prints what is found and done, a line each, and counts; as text, or as JSON Lines.

    Attributes:
        echo: prints a line.
        as_json: whether a line is a JSON object, whose `event` tells what it is about: `finding`, `plan`, `mended`,
            `skipped` or `summary`.
        counts: how many findings of each severity there are.
        mendable: how many of them --fix mends.
        documents: how many contact methods were examined, by environment.
    """

    echo: Callable[[str], None]
    as_json: bool
    counts: dict[Severity, int] = field(default_factory=lambda: dict.fromkeys(Severity, 0))
    mendable: int = 0
    documents: dict[Environment, int] = field(default_factory=dict)

    def anew(self) -> Report:
        """Return a report to the same place that has counted nothing."""
        return Report(self.echo, self.as_json)

    @property
    def exit_code(self) -> int:
        """What the findings make of the exit code."""
        return FOUND if self.counts[Severity.WRONG] else 0

    def find(self, finding: Finding) -> None:
        """Report a finding."""
        self.counts[finding.severity] += 1
        self.mendable += finding.mendable
        self._print("finding", finding.severity, finding.environment, finding.message, asdict(finding))

    def plan(self, fix: Fix) -> None:
        """Report what is going to be done."""
        self._print("plan", "plan", fix.environment, str(fix), asdict(fix))

    def mended(self, fix: Fix, obstacle: str) -> None:
        """Report that it has been done, or why not."""
        word = "skipped" if obstacle else "mended"
        message = f"{fix}: {obstacle}" if obstacle else str(fix)
        self._print(word, word, fix.environment, message, asdict(fix) | ({"message": obstacle} if obstacle else {}))

    def say(self, text: str) -> None:
        """Print a line for people only."""
        if not self.as_json:
            self.echo(text)

    def summarize(self) -> None:
        """Report how many findings there are."""
        if self.as_json:
            counts = {severity.value: count for severity, count in self.counts.items()}
            documents = {environment.value: count for environment, count in self.documents.items()}
            summary = {"event": "summary", **counts, "mendable": self.mendable, "contact_methods": documents}
            self.echo(json.dumps(summary))
            return
        wrong = self.counts[Severity.WRONG]
        parts = [f"{wrong} wrong" if wrong else "nothing wrong"]
        parts += [_plural(self.counts[kind], kind) for kind in (Severity.WARNING, Severity.NOTE) if self.counts[kind]]
        seen = ", ".join(f"{count} in {environment}" for environment, count in self.documents.items())
        line = ", ".join(parts) + (f"; contact methods examined: {seen}" if seen else "")
        self.echo(line + (f"; contactsvc doctor --fix mends {self.mendable} of these" if self.mendable else ""))

    def _print(self, event: str, word: str, environment: str, message: str, facts: Mapping[str, Any]) -> None:
        if self.as_json:
            # What is empty does not apply. `mendable` always does to a finding.
            told = {name: value for name, value in facts.items() if value not in ("", ())}
            self.echo(json.dumps({"event": event, **told}))
        else:
            where = f"{environment}: " if environment else ""
            self.echo(f"{word:<8} {where}{message}")


def run(
    flags: Mapping[str, str | None],
    environ: Mapping[str, str],
    *,
    fix: bool,
    report: Report,
    confirm: Callable[[str], bool],
) -> int:
    """Examine, and mend if told to; return the exit code.

    Args:
        flags: as for config.load.
        environ: as for config.load.
        fix: whether to mend what can be mended, and examine again.
        report: told everything.
        confirm: asked, after the plan has been printed, whether to carry it out.

    Returns:
        0 when nothing is wrong (any more), 2 when a setting is, and 1 otherwise.
    """
    try:
        settings = config.load(flags, environ)
        with planning() as plan:
            asyncio.run(_examine(settings, report, plan))
            report.summarize()
            if not fix or not len(plan):
                return report.exit_code
            for planned in plan:
                report.plan(planned)
            # No connection is held while somebody thinks.
            if not confirm(f"Carry out {_plural(len(plan), 'change')}?"):
                report.say("nothing was changed")
                return report.exit_code
            asyncio.run(_mend(settings, report, plan))
        report.say("examined again:")
        report = report.anew()
        with planning() as left:
            asyncio.run(_examine(settings, report, left))
    except ConfigurationError as error:
        report.find(Finding(severity=Severity.WRONG, check=Check.CONFIGURATION, message=str(error)))
        report.summarize()
        return error.exit_code
    report.summarize()
    return report.exit_code


async def _examine(settings: Settings, report: Report, plan: Plan) -> None:
    """Report everything that is wrong, and plan what can be done."""
    rules = ValueRules(settings.default_region, settings.value_validation_lenient)
    async with _reporting_what_stops_it(report), _connected(settings) as deployment:
        kind = "with transactions" if deployment.transactional else "standalone"
        connected = f"connected to MongoDB {deployment.version} ({kind}) with the {settings.driver} driver"
        report.find(Finding(severity=Severity.NOTE, check=Check.DATABASE, message=connected))
        if not deployment.transactional:
            standalone = (
                "this is a standalone server, which has no transactions: atomic batches, syncs and request_ids are "
                "refused, and a crash while a primary changes can leave none; run it as a replica set"
            )
            report.find(Finding(severity=Severity.WARNING, check=Check.DATABASE, message=standalone))
        for environment in Environment:
            examination = examination_of(deployment, f"{settings.database}_{environment}")
            await _Checkup(environment, examination, rules, report, plan).run()


async def _mend(settings: Settings, report: Report, plan: Plan) -> None:
    """Carry the plan out as far as nobody else has changed what it is about."""
    rules = ValueRules(settings.default_region, settings.value_validation_lenient)
    async with _reporting_what_stops_it(report), _connected(settings) as deployment:
        menders = {
            environment: _Mender(examination_of(deployment, f"{settings.database}_{environment}"), rules)
            for environment in Environment
        }
        for fix in plan:
            report.mended(fix, await menders[fix.environment].mend(fix))


@asynccontextmanager
async def _reporting_what_stops_it(report: Report) -> AsyncIterator[None]:
    try:
        yield
    except ConfigurationError:
        raise
    except (StartupError, ContactsvcError) as error:
        report.find(Finding(severity=Severity.WRONG, check=Check.DATABASE, message=str(error)))


@asynccontextmanager
async def _connected(settings: Settings) -> AsyncIterator[store.Deployment]:
    if settings.mongodb_uri is None:
        async with embedded.reached(settings.data_dir.absolute()) as uri, _deployment(uri, settings) as deployment:
            yield deployment
    else:
        async with _deployment(settings.mongodb_uri, settings) as deployment:
            yield deployment


@asynccontextmanager
async def _deployment(uri: str, settings: Settings) -> AsyncIterator[store.Deployment]:
    deployment = await store.connect(uri, settings.driver)
    try:
        yield deployment
    finally:
        await deployment.close()


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


class _Checkup:
    """The examination of one environment."""

    def __init__(
        self, environment: Environment, examination: Examination, rules: ValueRules, report: Report, plan: Plan
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

    def _index(self, index: ExaminedIndex) -> bool:
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
        count = 0
        async for document in self._examination.documents():
            count += document.client_id is not None
            if document.is_of_another_layout:
                self._another_layout(document)
            elif document.faults:
                self._faulty(document)
            elif document.record is not None:
                self._value(document.record)
                if not document.is_findable:
                    self._unfindable(document.record)
        self._report.documents[self._environment] = count
        if self._count_unreadable and not self._rules.lenient:
            some = _named(Group("", "", tuple(self._unreadable), self._count_unreadable))
            self._find(
                Severity.NOTE,
                Check.VALUE,
                f"{_plural(self._count_unreadable, 'value')} cannot be read as what they claim to be ({some}); lenient "
                f"rules have let them in, and lookups by value do not find them: correct them through the service",
                ids=tuple(self._unreadable),
            )

    def _another_layout(self, document: ExaminedDocument) -> None:
        self._find(
            Severity.WRONG,
            Check.DOCUMENT,
            f"{_document(document)} has a layout that this version does not know (schema_version "
            f"{document.schema_version}): another version has written it; run the service and doctor of that version",
            ids=(document.id,),
            client_id=document.client_id or "",
        )

    def _faulty(self, document: ExaminedDocument) -> None:
        self._find(
            Severity.WRONG,
            Check.DOCUMENT,
            f"{_document(document)} has no usable {', '.join(document.faults)}, so calls that meet it fail; restore it "
            f"from a backup, or delete it in the database and create it anew through the service",
            ids=(document.id,),
            client_id=document.client_id or "",
        )

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
            f"{_plural(count, 'document')} only remember requests that are over; MongoDB removes them within minutes, "
            f"the embedded database when the service starts, and --fix now",
            mendable=True,
        )
        self._plan.add(Fix(self._environment, Repair.FORGET))


class _Mender:
    """Carries out changes in one environment."""

    def __init__(self, examination: Examination, rules: ValueRules) -> None:
        self._examination = examination
        self._rules = rules
        # The etags of what was changed by an earlier change of the plan.
        self._renewed: dict[str, str] = {}

    async def mend(self, fix: Fix) -> str:
        """Carry out one change; return what stood against it, or nothing."""
        match fix.repair:
            case Repair.DEMOTE:
                return await self._demote(fix)
            case Repair.RENORMALIZE:
                return await self._renormalize(fix)
            case Repair.MAKE_FINDABLE:
                return await self._make_findable(fix)
            case Repair.FORGET:
                await self._examination.remove_expired(now_utc())
                return ""
            case Repair.CREATE_INDEX:
                if await self._examination.create_index(fix.target):
                    return ""
                return "the data or another index stands against it; the findings below say which"

    async def _demote(self, fix: Fix) -> str:
        # If the other one has lost the flag meanwhile, this one must not.
        keeper = await self._examination.find(fix.keeper, fix.keeper_etag)
        present = await self._examination.find(fix.target, fix.etag)
        if keeper is None or not keeper.is_primary or present is None:
            return _CHANGED_MEANWHILE
        return await self._write(present, {"is_primary": False})

    async def _renormalize(self, fix: Fix) -> str:
        present = await self._examination.find(fix.target, self._renewed.get(fix.target, fix.etag))
        if present is None:
            return _CHANGED_MEANWHILE
        try:
            value = self._rules.read(present.type, present.value.text)
        except InvalidValue:
            return _CHANGED_MEANWHILE
        return await self._write(present, {"value": value})

    async def _make_findable(self, fix: Fix) -> str:
        present = await self._examination.find(fix.target, self._renewed.get(fix.target, fix.etag))
        if present is None or not await self._examination.make_findable(present):
            return _CHANGED_MEANWHILE
        return ""

    async def _write(self, present: ContactMethod, fields: Mapping[str, object]) -> str:
        after = changed(present, fields, now=now_utc(), etag=new_etag())
        if not await self._examination.replace(present, after):
            return _CHANGED_MEANWHILE
        self._renewed[after.id] = after.etag
        return ""


_CHANGED_MEANWHILE = "somebody has changed it meanwhile, which counts; run doctor again"


def _document(document: ExaminedDocument) -> str:
    if document.client_id is None:
        return f"the document {document.id}"
    return f"the contact method {document.id} of client {document.client_id}"


def _named(group: Group) -> str:
    more = group.size - len(group.ids)
    return ", ".join(group.ids) + (f" and {more} more" if more else "")


def _plural(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
