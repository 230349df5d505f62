"""`python -m contactsvc` is `contactsvc`."""

from contactsvc.cli.main import main

main(prog_name="contactsvc")
