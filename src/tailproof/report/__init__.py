"""The stage report: the page of an experiment, its charts and tables, and other reports."""
