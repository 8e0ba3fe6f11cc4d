"""Buckets: the client, artifacts that pods share, and files kept there."""
