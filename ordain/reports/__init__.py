"""What a run came to, as a page: read from ML Metadata, artifacts and `result.json` only."""
