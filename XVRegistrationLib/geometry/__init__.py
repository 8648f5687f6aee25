"""Rigid transforms, the C-arm camera, nominal views, the frustum, and the conventions of others."""
