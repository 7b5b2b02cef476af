"""The library of steps that plans are made of."""
