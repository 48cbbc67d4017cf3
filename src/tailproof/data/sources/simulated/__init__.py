"""Simulated images of two domains: gravitational lenses and scanning-probe lines."""
