"""Checks of a compiled pipeline against the backend's rules."""
