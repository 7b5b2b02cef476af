"""Cargo scanners."""
