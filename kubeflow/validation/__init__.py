"""Rules that a compiled pipeline has to keep."""
