"""Evaluator: metrics by slice, and the verdict."""
