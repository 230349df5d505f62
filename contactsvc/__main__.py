"""Entry point of `python -m contactsvc`."""

from contactsvc.cli.main import main

main(prog_name="contactsvc")
