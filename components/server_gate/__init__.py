"""The server gate: serves a candidate in a sandbox before it is published."""
