"""Scorers: what other people's models think of a picture and its prompt."""
