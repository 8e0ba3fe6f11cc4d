"""Our executor for Beam pipelines, and what it changes in Beam."""
