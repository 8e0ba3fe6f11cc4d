"""The Python API: what `import ordain` offers to scripts and notebooks."""
