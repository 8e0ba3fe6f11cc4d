"""Facts for a report, read from ML Metadata, artifacts and `result.json`."""
