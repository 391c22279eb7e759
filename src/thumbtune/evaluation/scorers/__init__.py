"""Scorers: what other people's models think of an image and its prompt."""
