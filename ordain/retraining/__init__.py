"""Retraining decision: facts, triggers, blockers, log."""
