"""Digital I/O boards."""
