"""Runs: the recipe, the objects that it names, and the directory that a training fills."""
