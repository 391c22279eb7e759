"""Export likes: `export.export` writes a store in one of the forms that other programs read."""
