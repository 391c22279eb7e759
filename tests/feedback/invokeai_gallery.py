"""A gallery as InvokeAI keeps it: its database, and the images beside it."""

import io
import json
import sqlite3
from contextlib import closing
from pathlib import Path

from PIL import Image, PngImagePlugin

NOW = "STRFTIME('%Y-%m-%d %H:%M:%f', 'NOW')"
MOMENTS = (
    f"created_at DATETIME NOT NULL DEFAULT({NOW}), updated_at DATETIME NOT NULL DEFAULT({NOW}), deleted_at DATETIME"
)
# Tables and columns are InvokeAI's, as of 3.4 (before it counted its migrations).
VERSION_3 = f"""
CREATE TABLE images (
    image_name TEXT NOT NULL PRIMARY KEY, image_origin TEXT NOT NULL, image_category TEXT NOT NULL,
    width INTEGER NOT NULL, height INTEGER NOT NULL, session_id TEXT, node_id TEXT, metadata TEXT,
    is_intermediate BOOLEAN DEFAULT FALSE, {MOMENTS});
ALTER TABLE images ADD COLUMN starred BOOLEAN DEFAULT FALSE;
CREATE UNIQUE INDEX idx_images_image_name ON images(image_name);
CREATE INDEX idx_images_starred ON images(starred);
CREATE TRIGGER tg_images_updated_at AFTER UPDATE ON images FOR EACH ROW
BEGIN UPDATE images SET updated_at = {NOW} WHERE image_name = old.image_name; END;
CREATE TABLE boards (
    board_id TEXT NOT NULL PRIMARY KEY, board_name TEXT NOT NULL, cover_image_name TEXT, {MOMENTS},
    FOREIGN KEY (cover_image_name) REFERENCES images (image_name) ON DELETE SET NULL);
CREATE TABLE board_images (
    board_id TEXT NOT NULL, image_name TEXT NOT NULL, {MOMENTS}, PRIMARY KEY (image_name),
    FOREIGN KEY (board_id) REFERENCES boards (board_id) ON DELETE CASCADE,
    FOREIGN KEY (image_name) REFERENCES images (image_name) ON DELETE CASCADE);
"""
# What migrations 2 to 31 add to these tables; the log is written ahead.
VERSION_6 = """
PRAGMA journal_mode = WAL;
ALTER TABLE images ADD COLUMN has_workflow BOOLEAN DEFAULT FALSE;
ALTER TABLE boards ADD COLUMN archived BOOLEAN DEFAULT FALSE;
ALTER TABLE images ADD COLUMN user_id TEXT DEFAULT 'system';
ALTER TABLE boards ADD COLUMN user_id TEXT DEFAULT 'system';
ALTER TABLE images ADD COLUMN image_subfolder TEXT NOT NULL DEFAULT '';
"""
METADATA = {
    "generation_mode": "txt2img",
    "positive_prompt": "a fox, ink",
    "negative_prompt": "blurry",
    "seed": 7,
    "model": {"key": "5f0c", "hash": "blake3:1", "name": "Dreamshaper 8", "base": "sd-1", "type": "main"},
}


def made(text: dict[str, object] | None = None) -> bytes:
    info, file = PngImagePlugin.PngInfo(), io.BytesIO()
    if text is not None:
        info.add_text("invokeai_metadata", json.dumps(text))
    Image.new("RGB", (8, 8), "red").save(file, "PNG", pnginfo=info)
    return file.getvalue()


def database_in(root: Path, *scripts: str) -> Path:
    file = root / "databases" / "invokeai.db"
    file.parent.mkdir(parents=True)
    (root / "outputs" / "images" / "thumbnails").mkdir(parents=True)
    with closing(sqlite3.connect(file)) as database:
        for script in scripts:
            database.executescript(script)
    return root


def run(root: Path, statement: str, *cells: object) -> None:
    with closing(sqlite3.connect(root / "databases" / "invokeai.db")) as database, database:
        database.execute(statement, cells)


def add(root: Path, name: str, *, board: str | None = None, image: bytes | None = None, **columns: object) -> None:
    """An image in the gallery and on the disk."""
    cells = {"image_name": name, "image_origin": "internal", "image_category": "general", "width": 8, "height": 8}
    cells |= {"metadata": json.dumps(METADATA), **columns}
    marks = ", ".join("?" * len(cells))
    run(root, f"INSERT INTO images ({', '.join(cells)}) VALUES ({marks})", *cells.values())
    if board is not None:
        run(root, "INSERT OR IGNORE INTO boards (board_id, board_name) VALUES (?, ?)", f"id of {board}", board)
        run(root, "INSERT INTO board_images (board_id, image_name) VALUES (?, ?)", f"id of {board}", name)
    file = root / "outputs" / "images" / str(columns.get("image_subfolder", "")) / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(made() if image is None else image)
