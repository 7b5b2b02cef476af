"""Aspect portals over Modbus TCP."""
