"""Device drivers: they know wires, not lanes."""
