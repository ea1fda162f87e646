"""The cards under a picture: checks, questions, links and files, tables, charts."""
