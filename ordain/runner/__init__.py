"""The local driver: checks before a run, locks, and the launching of nodes."""
