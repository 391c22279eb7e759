"""Formats that few people have: Label Studio, InvokeAI's database, WebDataset's shards, ComfyUI's canvas.

They need more code than the formats that many people have. Two files import them: `sources/kinds.py`, the list of
formats, and `metadata/image_files.py`, which reads the canvas inside an image. A reader of the rest may skip this
package. To add a format:

1. Write a module here with `recognises(path)`, which never raises, and a class that is a `Source` (`feedback.source`).
2. Add a `Kind` for it to the list in `sources/kinds.py`.
3. Add its tests to `tests/feedback`, and a damaged copy of one of its files to `test_mutations.py`.
"""
