"""Predictions for new images, from an expert's folder alone."""
