"""`python -m contactsvc` is `contactsvc`."""

from contactsvc.cli import main

main(prog_name="contactsvc")
