"""ML Metadata: where it is, how it is opened, asked and locked."""
