"""Where likes can be imported from: one module for each kind of source."""
