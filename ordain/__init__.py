"""The command line: one thin module per command group, and the console's drawing."""
