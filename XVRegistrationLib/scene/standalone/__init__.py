"""MRML without 3D Slicer's application: brings up slicer-core, its views offscreen, and pictures of them."""
