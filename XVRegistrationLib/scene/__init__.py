"""The MRML scene: volumes, X-rays at their poses, labels and targets in and out. Needs `slicer` (Slicer or slicer-core)."""
