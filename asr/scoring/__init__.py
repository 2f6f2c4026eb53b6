"""Text and reference to how good: alignment, error rates, intervals."""
