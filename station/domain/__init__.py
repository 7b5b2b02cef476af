"""What the lane means: pure state machines, rules and events."""
