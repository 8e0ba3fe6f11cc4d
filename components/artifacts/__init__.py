"""Artifact types, and how their files are written."""
