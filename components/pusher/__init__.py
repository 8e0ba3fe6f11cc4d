"""Pusher: publishes a blessed model, with its provenance."""
