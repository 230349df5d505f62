"""Export and import of contact methods: backup and restore of an environment, and lists from elsewhere.

run.py connects settings and files; exporter.py and importer.py know the Store protocol and no driver. A file format is
a module with an ExportSink and a Source (json_lines.py, csv_rows.py, vcards.py), listed in formats.py; presets.py reads
the CSV exports of address books. fields.py has the table of the fields of a record. docs/backup.md states the
guarantees, docs/imports.md what becomes of the files of others.
"""
