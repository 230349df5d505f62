"""A run of doctor: a checkup, its plan, the repairs, and a second checkup."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from itertools import groupby

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
from contactsvc.runtime.secrets import secrets_of_file
from contactsvc.store import MAX_REPAIRS, STANDALONE_WARNING, inspection_of, recorded_rules_of, repairs_of

_KEY_IN_DATABASE = (
    "the database holds both the verification secret and the challenges, so that read access to it, or to a backup, is "
    "enough to derive the valid codes; --verification-secret-file keeps the secret outside"
)


def run(
    flags: Mapping[str, str | None],
    environ: Mapping[str, str],
    *,
    fix: bool,
    report: Report,
    confirm: Callable[[str], bool],
) -> int:
    """Check everything, repair on request, and return the exit code.

    Args:
        flags: as for config.load.
        environ: as for config.load.
        fix: whether to repair what can be repaired, and check again.
        report: receives all findings and repairs.
        confirm: called with a question after the plan was printed; returns whether to carry it out.

    Returns:
        0 when nothing is wrong, or nothing any more; 2 when a setting is wrong; 1 otherwise.
    """
    try:
        settings = config.load(flags, environ, serving=True)
        _load_certificates(settings)
        if settings.verification_secret_file is not None:
            secrets_of_file(settings.verification_secret_file)
        with planning() as plan:
            asyncio.run(_check(settings, report, plan))
            report.summarize()
            if not fix or not len(plan):
                return report.exit_code
            for planned in plan.summary():
                report.add_planned(planned)
            # No connection stays open while the user decides.
            if not confirm(f"Carry out {plural(len(plan), 'change')}?"):
                report.print_text("nothing was changed")
                return report.exit_code
            # The final summary counts the findings of repairs as well.
            report = report.fresh()
            asyncio.run(_repair(settings, report, plan))
        report.print_text("second checkup:")
        with planning() as remaining:
            asyncio.run(_check(settings, report, remaining))
    except ConfigurationError as error:
        report.add(Finding(severity=Severity.WRONG, check=Check.CONFIGURATION, message=str(error)))
        report.summarize()
        return error.exit_code
    report.summarize()
    return report.exit_code


async def _check(settings: Settings, report: Report, plan: Plan) -> None:
    """Report all findings, and plan the repairs."""
    rules = ValueRules(settings.default_region, settings.value_validation_lenient)
    async with _reporting_failures(report), connected(settings) as deployment:
        kind = "with transactions" if deployment.transactional else "standalone"
        connection = f"connected to MongoDB {deployment.version} ({kind}) with the {settings.driver} driver"
        report.add(Finding(severity=Severity.NOTE, check=Check.DATABASE, message=connection))
        if not deployment.transactional:
            report.add(Finding(severity=Severity.WARNING, check=Check.DATABASE, message=STANDALONE_WARNING))
        if not deployment.is_embedded and settings.verification_secret_file is None:
            report.add(Finding(severity=Severity.NOTE, check=Check.DATABASE, message=_KEY_IN_DATABASE))
        with _reporting_refusals(report):
            if not await deployment.key_store(f"{settings.database}_keys").all():
                _report_missing_keys(settings, report)
        for environment in Environment:
            name = f"{settings.database}_{environment}"
            inspection, recorded = inspection_of(deployment, name), recorded_rules_of(deployment, name)
            with _reporting_refusals(report):
                await Checkup(environment, inspection, recorded, rules, report, plan, clock=deployment.clock).run()


async def _repair(settings: Settings, report: Report, plan: Plan) -> None:
    """Carry out the plan, except on records that changed since."""
    rules = ValueRules(settings.default_region, settings.value_validation_lenient)
    async with _reporting_failures(report), connected(settings) as deployment:
        groups = plan.groups(MAX_REPAIRS)
        for environment, of_environment in groupby(groups, key=lambda fixes: fixes[0].environment):
            name = f"{settings.database}_{environment}"
            repairs, recorded = repairs_of(deployment, name), recorded_rules_of(deployment, name)
            repairer = Repairer(environment, repairs, recorded, rules, report, plan, clock=deployment.clock)
            try:
                for fixes in of_environment:
                    await repairer.carry_out(fixes)
            finally:
                repairer.report_unfinished()


def _load_certificates(settings: Settings) -> None:
    """Raise ConfigurationError when the service could not use its certificates."""
    if settings.tls_cert is not None and settings.tls_key is not None:
        # Imported only when needed: it loads gRPC.
        from contactsvc.rpc.tls import ReloadingCertificates, TlsFiles

        ReloadingCertificates(TlsFiles(settings.tls_cert, settings.tls_key, settings.tls_client_ca), lambda _: None)


def _report_missing_keys(settings: Settings, report: Report) -> None:
    """Report when the service would refuse to start because there are no API keys."""
    try:
        config.refuse_network_without_keys(settings)
    except ConfigurationError as error:
        report.add(Finding(severity=Severity.WRONG, check=Check.CONFIGURATION, message=str(error)))


@contextmanager
def _reporting_refusals(report: Report) -> Iterator[None]:
    """Report missing privileges on one database, so that the other ones are checked nevertheless."""
    try:
        yield
    except DatabaseRefuses as error:
        report.add(Finding(severity=Severity.WRONG, check=Check.DATABASE, message=str(error)))


@asynccontextmanager
async def _reporting_failures(report: Report) -> AsyncIterator[None]:
    """Report what ends a checkup or a repair, such as an unreachable database; settings end the run."""
    try:
        yield
    except ConfigurationError:
        raise
    except (StartupError, ContactsvcError) as error:
        report.add(Finding(severity=Severity.WRONG, check=Check.DATABASE, message=str(error)))
