"""Utilities without knowledge of pipelines: files, digests, locks, JSON, memory, processes."""
