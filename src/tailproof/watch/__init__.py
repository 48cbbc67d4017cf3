"""A local page that follows an experiment while it runs. It only reads files."""
