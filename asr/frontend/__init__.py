"""Waveform to features: the first module of every model, batched, on any device."""
