"""Past and present runs: results, history, comparison, recovery, garbage collection."""
