"""Reports of runs, from the ML Metadata store, artifacts and `result.json` only."""
