"""Predictions of trained experts: the stage infer and the command `tailproof predict`."""
