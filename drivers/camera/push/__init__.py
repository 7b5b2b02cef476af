"""Cameras that push their events by HTTP."""
