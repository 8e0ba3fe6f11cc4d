"""`pipeline.yaml`: its sections, their bounds, and the loading of a project."""
