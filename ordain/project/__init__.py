"""What belongs to a project beside its configuration: source, spans, schema."""
