"""What is odd about the data: labels that are likely wrong, and images unlike the others."""
