"""Commands for Kubeflow Pipelines: compile, simulate, submit, and its runs."""
