"""Bytes to values and back, pure; shared by several rooms."""
