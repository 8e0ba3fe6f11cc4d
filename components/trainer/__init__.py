"""Trainer: the training data and the component."""
