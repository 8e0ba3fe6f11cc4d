"""The trial of a model in a process without network and files."""
