"""Composes the lane."""

__version__ = "0.1.0"
