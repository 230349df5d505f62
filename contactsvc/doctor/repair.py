"""Carries out planned repairs, except on records that changed since the checkup."""

from __future__ import annotations

from collections.abc import Mapping

from contactsvc.doctor.plan import Fix, Repair
from contactsvc.domain.clock import Clock
from contactsvc.domain.contact_method import ContactMethod, changed
from contactsvc.domain.ids import new_etag
from contactsvc.domain.normalization import InvalidValue, ValueRules
from contactsvc.store import Repairs

_CHANGED = "changed by another writer since the checkup; run doctor again"


class Repairer:
    """Carries out repairs in one environment.

    Args:
        repairs: reads and writes single contact methods of the environment.
        rules: how values are read.
        clock: the time of the database.
    """

    def __init__(self, repairs: Repairs, rules: ValueRules, *, clock: Clock) -> None:
        self._repairs = repairs
        self._clock = clock
        self._rules = rules
        # A record may have several repairs: the etags that earlier ones left, by id.
        self._etags: dict[str, str] = {}

    async def apply(self, fix: Fix) -> str:
        """Carry out a repair; return why it was skipped, or an empty string."""
        match fix.repair:
            case Repair.DEMOTE:
                return await self._demote(fix)
            case Repair.RENORMALIZE:
                return await self._renormalize(fix)
            case Repair.MAKE_FINDABLE:
                return await self._make_findable(fix)
            case Repair.MIGRATE:
                await self._repairs.migrate()
                return ""
            case Repair.FORGET:
                await self._repairs.remove_expired(self._clock())
                return ""
            case Repair.CREATE_INDEX:
                if await self._repairs.create_index(fix.target):
                    return ""
                return "conflicts with the data or another index; see the findings below"

    async def _demote(self, fix: Fix) -> str:
        # If the keeper is not primary any more, demoting this one would leave none.
        keeper = await self._repairs.find(fix.keeper, fix.keeper_etag)
        present = await self._repairs.find(fix.target, fix.etag)
        if keeper is None or not keeper.is_primary or present is None:
            return _CHANGED
        return await self._replace(present, {"is_primary": False})

    async def _renormalize(self, fix: Fix) -> str:
        present = await self._find_target(fix)
        if present is None:
            return _CHANGED
        try:
            value = self._rules.read(present.type, present.value.text)
        except InvalidValue:
            return _CHANGED
        return await self._replace(present, {"value": value})

    async def _make_findable(self, fix: Fix) -> str:
        present = await self._find_target(fix)
        if present is None or not await self._repairs.make_findable(present):
            return _CHANGED
        return ""

    async def _find_target(self, fix: Fix) -> ContactMethod | None:
        """Return the record to repair, unless another writer has changed it."""
        return await self._repairs.find(fix.target, self._etags.get(fix.target, fix.etag))

    async def _replace(self, present: ContactMethod, fields: Mapping[str, object]) -> str:
        after = changed(present, fields, now=self._clock(), etag=new_etag())
        if not await self._repairs.replace(present, after):
            return _CHANGED
        self._etags[after.id] = after.etag
        return ""
