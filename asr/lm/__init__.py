"""TEXT → HOW PROBABLE: n-gram language models, read, scored, measured and estimated."""
