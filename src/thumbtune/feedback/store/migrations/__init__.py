"""The store's schema, from its first form on: each file of `versions` is one step up, for SQLite and PostgreSQL."""
