"""The store of votes, in SQLite or PostgreSQL."""
