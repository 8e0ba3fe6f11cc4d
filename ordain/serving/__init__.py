"""The serving directory and the signatures of what is in it; knows nothing of TFX."""
