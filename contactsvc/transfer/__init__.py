"""Backup and restore of an environment, and lists that people bring: `contactsvc export` and `contactsvc import`.

formats.py knows lines, export.py and restore.py know the Store protocol and no driver; cli.py puts them on the
settings. What holds is in docs/backup.md.
"""
