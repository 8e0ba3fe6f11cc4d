"""The ML Metadata store: its location, its clients, its queries and its locks."""
