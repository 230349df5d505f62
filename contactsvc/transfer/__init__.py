"""Export and import of contact methods: backup and restore of an environment, and lists from elsewhere.

run.py connects settings and files; exporter.py and importer.py know the Store protocol and no driver. A file format is
a module with an ExportSink and a Source, listed in formats.py: json_lines.py, csv_rows.py on csv_text.py, and vcards.py
on content_lines.py; presets.py reads the CSV exports of address books. fields.py has the table of a record's fields,
matching.py the rules for which record a row of a list describes. docs/backup.md states the guarantees, docs/imports.md
what becomes of the files of others.
"""
