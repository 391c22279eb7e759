"""Getting likes out again: `export.export` writes a store into any of the forms that others read."""
