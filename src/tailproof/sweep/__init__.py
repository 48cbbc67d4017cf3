"""The stage sweep: which points are promoted and which one wins, decided on val alone."""
