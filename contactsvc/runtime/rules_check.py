"""Check at start of the rules that the stored normal forms were written under."""

from __future__ import annotations

import logging

from contactsvc.domain.kinds import Environment
from contactsvc.domain.normalization import RulesVersion, ValueRules
from contactsvc.store import Deployment, recorded_rules_of

_log = logging.getLogger(__name__)


async def warn_of_other_rules(deployment: Deployment, database: str, rules: ValueRules) -> None:
    """Warn about environments whose normal forms were written under other rules, or under unknown ones.

    Records the rules of an environment without contact methods. Apart from that only `contactsvc doctor --fix` records
    them, after it has renewed what was stale.

    Args:
        deployment: the deployment.
        database: the name of the databases, without environment.
        rules: how this service reads values.

    Raises:
        StartupError: the database refuses or does not answer.
    """
    current = RulesVersion.current(rules.default_region)
    others: dict[RulesVersion | None, list[Environment]] = {}
    for environment in Environment:
        recorded = await recorded_rules_of(deployment, f"{database}_{environment}").record_if_empty(
            current, deployment.clock()
        )
        if recorded != current:
            others.setdefault(recorded, []).append(environment)
    for recorded, environments in others.items():
        where = " and ".join(environments)
        if recorded is None:
            _log.warning(
                "the rules that the normalized values of %s were written under are not recorded, and lookups by value "
                "may miss some; `contactsvc doctor` finds those, `contactsvc doctor --fix` renews them and records the "
                "rules of this service (%s)",
                where,
                current,
            )
        else:
            _log.warning(
                "the normalized values of %s were written under other rules (%s) than this service has (%s), and "
                "lookups by value may miss some; `contactsvc doctor --fix` renews them",
                where,
                recorded,
                current,
            )
