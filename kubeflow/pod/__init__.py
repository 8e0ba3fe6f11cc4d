"""Tasks that run in pods: prepare, one node, result, on-exit."""
