"""Evaluation of a tuned model: scorers, win-rates, statistics, gates, and human tests."""
