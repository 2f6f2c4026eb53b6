"""Corpora and recordings to manifests: downloads, archives, the layouts people use, splits."""
