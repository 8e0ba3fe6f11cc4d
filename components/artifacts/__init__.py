"""Types of artifacts, and the writing of their files."""
