"""Replacements of third-party functions, one module per library; see `docs/upstream.md`.

Nothing here acts at import. Each replacement is a context manager that our own runs enter and that
restores the library's own function when it ends.
"""
