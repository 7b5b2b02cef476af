"""The virtual lane that every emulator looks at: one vehicle on one geometry."""
