"""Ordain beside its peers: the same work, measured the same way. `run.py` is the command."""
