"""Predictions for rows of a table, in a server, a process or on Beam."""
