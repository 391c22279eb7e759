"""Likes and dislikes: the store of votes, imports, exports, and the table that training reads. Imports no torch."""
