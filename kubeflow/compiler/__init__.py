"""The compiler: a project becomes a pipeline file of Kubeflow."""
