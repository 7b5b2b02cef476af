"""The bench of the technician."""
