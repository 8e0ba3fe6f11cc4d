"""Trainer: component, callbacks and training datasets."""
