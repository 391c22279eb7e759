"""Families of networks behind one interface, `thumbtune.models.protocol.Model`."""
