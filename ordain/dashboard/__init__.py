"""Web application on this machine that shows all runs of one or several projects."""
