"""Scanner front ends that speak linestream."""
