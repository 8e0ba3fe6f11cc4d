"""Charts of a report, and their rendering as SVG."""
