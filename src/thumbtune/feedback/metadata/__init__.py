"""Readers of the generation parameters inside images: prompt, seed, model."""
