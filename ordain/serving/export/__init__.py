"""The export of a model: signatures, description, samples, weights for a warm start."""
