"""How the bundled model and its judge are made, from nothing: `make base-model`.

Not part of the installed package, which needs none of this at run time.
"""
