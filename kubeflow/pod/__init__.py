"""What runs in a pod: preparation, one node, the result."""
