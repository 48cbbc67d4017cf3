"""The stage sweep: which points go on, which one wins; from what was measured on val alone."""
