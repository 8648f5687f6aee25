"""Synthetic X-rays: line integrals through a density grid, with their derivatives by the pose."""
