"""The simulator: a compiled pipeline on this machine, task by task."""
