"""`contactsvc doctor`: checks settings, database, indexes and documents, and repairs what it can.

A checkup changes nothing. Its report names ids and never contact values, so that it can go into a ticket. It takes
constant memory: findings are printed as they come, and planned repairs are spooled to a file. This package uses no
driver; store/inspection.py reads and writes.
"""

from contactsvc.doctor.checkup import Verdict, verdict_on
from contactsvc.doctor.plan import Fix, Plan, Repair, planning
from contactsvc.doctor.report import Check, Finding, Report, Severity
from contactsvc.doctor.run import run

__all__ = [
    "Check",
    "Finding",
    "Fix",
    "Plan",
    "Repair",
    "Report",
    "Severity",
    "Verdict",
    "planning",
    "run",
    "verdict_on",
]
