"""Notifications of runs: events, outbox, delivery."""
