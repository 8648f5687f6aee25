"""The panel's parts in Slicer: what must be installed, and what its buttons do."""
