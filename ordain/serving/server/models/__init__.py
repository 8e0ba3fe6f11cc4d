"""Loaded models: routing to versions, reloading, batches, warm-up, threads."""
