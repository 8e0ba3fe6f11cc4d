"""Pusher: the publishing of a blessed model, with its provenance."""
