"""Volumes, labels and X-rays: reading, checking, and turning grey values into attenuation."""
