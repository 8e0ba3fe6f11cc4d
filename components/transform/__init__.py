"""Transform: the analysis and the transformation of the examples."""
