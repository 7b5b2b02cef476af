"""The public HTTP interface: central feed, officer commands, live events."""
