"""The versions of the store's schema: each file of `versions` is one upgrade, for SQLite and PostgreSQL."""
