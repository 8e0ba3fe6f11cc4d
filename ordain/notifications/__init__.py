"""Notices about runs: events, outbox, delivery."""
