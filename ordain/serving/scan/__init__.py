"""The scan of a SavedModel that nothing has loaded yet."""
