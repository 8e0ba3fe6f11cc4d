"""All runs of one or several projects as pages of a small web application on this machine."""
