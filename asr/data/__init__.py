"""What goes in: sound files, text, tokens, manifests, batches."""
