"""The sources that likes are imported from: one module a kind."""
