"""What experts and ensembles are worth on dev and test, with an interval on every number."""
