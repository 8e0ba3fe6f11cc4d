"""The command line: one thin module per command group, and the drawing on the console."""
