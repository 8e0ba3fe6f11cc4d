"""Kubeflow Pipelines: compiler, client, what runs in pods, and a simulator."""
