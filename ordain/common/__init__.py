"""Small tools that know nothing of pipelines: files, digests, locks, JSON, processes."""
