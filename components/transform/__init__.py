"""Transform: analysis and transformation of the examples."""
