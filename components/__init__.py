"""TFX components of our own, and our executors for TFX's."""
