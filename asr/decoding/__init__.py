"""Scores to hypotheses."""
