"""Boxes as samples: where they come from, and how they are cut out of the pictures."""
