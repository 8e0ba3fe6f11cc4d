"""Configuration, graph, evaluation, local runner and run history."""
