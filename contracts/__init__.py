"""The forms that everything speaks: errors with their exit codes, and the gate verdict.

Imports nothing of the project and nothing heavy, so every room may use it.
"""
