"""X-ray to volume registration. See README.md for use and Documentation/architecture.md for how it is built."""

__version__ = "0.1.0"
