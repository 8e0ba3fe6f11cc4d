"""Cloud Storage: its client, artifacts that pods share, and files kept there."""
