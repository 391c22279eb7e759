"""What people said about pictures: the store, the ways in, the table that training reads. Knows no torch."""
