"""Replacements of third-party functions, by library; see `docs/upstream.md`.

Importing a module here replaces nothing. A replacement of a function is a context manager that our
own runs enter and that restores the library's own function when it ends.
"""
