"""The site of the documentation: the pages of `docs/`, a reference made from the code, and Zensical around them."""
