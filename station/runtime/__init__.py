"""What keeps a daemon alive: supervisor, health, clock, bus."""
