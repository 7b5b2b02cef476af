"""Portals of any make whose registers are known: a map in the lane file."""
