"""Scorers: give a number to an image, or to an image and its prompt."""
