"""Blind tests in the studio: the plan and the analysis are those of `thumbtune human`."""
