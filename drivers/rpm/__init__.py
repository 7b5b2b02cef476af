"""Radiation portal monitors."""
