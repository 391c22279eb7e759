"""The human test: people compare the two sides of a duel without knowing which is which. No pages, no torch."""
