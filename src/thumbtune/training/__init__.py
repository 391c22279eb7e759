"""Training: batches of likes and dislikes in, a generator of steps out."""
