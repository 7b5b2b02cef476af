"""I/O boards and PLCs with Modbus TCP."""
