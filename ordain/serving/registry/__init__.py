"""The serving directory: versions, manifests, labels, signatures, retention."""
