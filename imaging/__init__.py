"""Pure number work over arrays: radiographs, counts, pictures."""
