"""Writes the histories of runs to TensorBoard and MLflow, from outside of the jobs that train.

What an experiment has trained is read from its logs and histories, while it runs or afterwards.
"""
