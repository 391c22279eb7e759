"""What people said about images: the store, the ways in, the table that training reads. Knows no torch."""
