"""Readers of tables, cells and archives, shared by the sources."""
