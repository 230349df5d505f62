"""A run of doctor: examine, show the plan, mend, and examine again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager

from contactsvc import config
from contactsvc.config import Settings
from contactsvc.doctor.checkup import Checkup
from contactsvc.doctor.plan import Plan, planning
from contactsvc.doctor.repair import Repairer
from contactsvc.doctor.report import Check, Finding, Report, Severity, plural
from contactsvc.domain.kinds import Environment
from contactsvc.domain.normalization import ValueRules
from contactsvc.errors import ConfigurationError, ContactsvcError, DatabaseRefuses, StartupError
from contactsvc.runtime.database import connected
from contactsvc.store import STANDALONE_WARNING, inspection_of, repairs_of


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
        settings = config.load(flags, environ, serving=True)
        _try_certificates(settings)
        with planning() as plan:
            asyncio.run(_examine(settings, report, plan))
            report.summarize()
            if not fix or not len(plan):
                return report.exit_code
            for planned in plan:
                report.plan(planned)
            # No connection is held while somebody thinks.
            if not confirm(f"Carry out {plural(len(plan), 'change')}?"):
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
    async with _reporting_what_stops_it(report), connected(settings) as deployment:
        kind = "with transactions" if deployment.transactional else "standalone"
        where = f"connected to MongoDB {deployment.version} ({kind}) with the {settings.driver} driver"
        report.find(Finding(severity=Severity.NOTE, check=Check.DATABASE, message=where))
        if not deployment.transactional:
            report.find(Finding(severity=Severity.WARNING, check=Check.DATABASE, message=STANDALONE_WARNING))
        with _reporting_refusals(report):
            if not await deployment.key_store(f"{settings.database}_keys").all():
                _find_open_gate(settings, report)
        for environment in Environment:
            examination = inspection_of(deployment, f"{settings.database}_{environment}")
            with _reporting_refusals(report):
                await Checkup(environment, examination, rules, report, plan).run()


def _try_certificates(settings: Settings) -> None:
    """Raise ConfigurationError when the service could not use its certificates."""
    if settings.tls_cert is not None and settings.tls_key is not None:
        # Only here: it loads gRPC.
        from contactsvc.rpc.tls import ReloadingCertificates, TlsFiles

        ReloadingCertificates(TlsFiles(settings.tls_cert, settings.tls_key, settings.tls_client_ca), lambda _: None)


def _find_open_gate(settings: Settings, report: Report) -> None:
    """Report when the service would not start since there is no API key."""
    try:
        config.refuse_network_without_keys(settings)
    except ConfigurationError as error:
        report.find(Finding(severity=Severity.WRONG, check=Check.CONFIGURATION, message=str(error)))


async def _mend(settings: Settings, report: Report, plan: Plan) -> None:
    """Carry the plan out as far as nobody else has changed what it is about."""
    rules = ValueRules(settings.default_region, settings.value_validation_lenient)
    async with _reporting_what_stops_it(report), connected(settings) as deployment:
        menders = {
            environment: Repairer(repairs_of(deployment, f"{settings.database}_{environment}"), rules)
            for environment in Environment
        }
        for fix in plan:
            report.mended(fix, await menders[fix.environment].mend(fix))


@contextmanager
def _reporting_refusals(report: Report) -> Iterator[None]:
    """Report what one database refuses, so that the others are examined as well."""
    try:
        yield
    except DatabaseRefuses as error:
        report.find(Finding(severity=Severity.WRONG, check=Check.DATABASE, message=str(error)))


@asynccontextmanager
async def _reporting_what_stops_it(report: Report) -> AsyncIterator[None]:
    try:
        yield
    except ConfigurationError:
        raise
    except (StartupError, ContactsvcError) as error:
        report.find(Finding(severity=Severity.WRONG, check=Check.DATABASE, message=str(error)))
