"""`contactsvc doctor`: what is checked, the plan of what can be mended, and the report.

It looks at what the service takes for granted: settings, database, indexes, and documents that keep the rules. Looking
changes nothing. What it reports names ids and never contact values, so that it can go into a ticket. Knows no driver:
store/examination.py reads and writes.

Reading takes constant memory, however much is wrong: findings are printed as they come, and the plan is in a file.
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
