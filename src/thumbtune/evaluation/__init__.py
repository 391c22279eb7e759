"""Is the tuned model better? Duels, tastes, judges and the statistics of their scores."""
