"""Training: one expert, one seed, over any number of attempts and processes."""
