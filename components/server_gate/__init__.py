"""The server gate: a candidate served on trial."""
