"""Comparisons of models: their images on the same prompts and seeds, the scores, the verdict."""
