"""Number work on counts: backgrounds, alarms, positions."""
