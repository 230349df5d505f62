"""`contactsvc doctor`: checks settings, database, indexes and documents, and repairs what it can.

A checkup changes nothing. Its report names ids and never contact values, so that it can go into a ticket. It takes
constant memory: findings are printed as they come or counted, and planned repairs are spooled to a file. Repairs of
which there may be one for each contact method are carried out and reported many at a time. This package uses no driver;
store/inspection.py reads, store/repairs.py writes.
"""

from contactsvc.doctor.plan import Fix, FixBatch, Plan, Repair, planning
from contactsvc.doctor.report import Check, Finding, Report, Severity
from contactsvc.doctor.run import run
from contactsvc.doctor.values import Verdict, verdict_on

__all__ = [
    "Check",
    "Finding",
    "Fix",
    "FixBatch",
    "Plan",
    "Repair",
    "Report",
    "Severity",
    "Verdict",
    "planning",
    "run",
    "verdict_on",
]
