"""Train the bundled model, its judge and its style classifier from scratch: `make base-model`.

This is not part of the installed package, which does not need it at run time.
"""
