"""Thumbtune: align text-to-image diffusion models with people's likes and dislikes (Diffusion-KTO)."""

__version__ = "0.1.0"
