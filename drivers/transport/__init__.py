"""Ways to a device: TCP, serial, Modbus, HTTP; one interface."""
