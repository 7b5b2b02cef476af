"""One lane at work: readings in, effects out, lights and barrier in sequence."""
