"""GigE Vision: its control protocol (GVCP) and its stream protocol (GVSP), without I/O or clock."""
