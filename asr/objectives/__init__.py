"""Scores and targets to a loss."""
