"""Carries out what doctor has planned, as far as nobody else has changed what it is about."""

from __future__ import annotations

from collections.abc import Mapping

from contactsvc.doctor.plan import Fix, Repair
from contactsvc.domain.clock import now_utc
from contactsvc.domain.contact_method import ContactMethod, changed
from contactsvc.domain.ids import new_etag
from contactsvc.domain.normalization import InvalidValue, ValueRules
from contactsvc.store import Repairs

_CHANGED_MEANWHILE = "somebody has changed it meanwhile, which counts; run doctor again"


class Repairer:
    """Carries out changes in one environment."""

    def __init__(self, examination: Repairs, rules: ValueRules) -> None:
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
            case Repair.MIGRATE:
                await self._examination.migrate()
                return ""
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
