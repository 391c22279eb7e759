"""Prompts that generators write into images."""
