"""A project's source, data spans and schema."""
