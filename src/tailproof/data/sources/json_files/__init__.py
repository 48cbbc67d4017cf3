"""What the sources of JSON files share."""
