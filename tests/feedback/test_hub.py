"""Data sets on the hub, with a folder here in its place: nothing in these tests meets a network."""

import io
import json
import logging
import os
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

import datasets
import pytest
from datasets import ClassLabel, Dataset, DatasetBuilder, Features, Image, Value, load_dataset_builder
from refusals import refused

from thumbtune.errors import UsageError
from thumbtune.feedback.images import UnreadableImage
from thumbtune.feedback.source import Reading, SourceRow
from thumbtune.feedback.sources import hub
from thumbtune.feedback.sources.hub import Address, HubDataset, address_in

Paint = Callable[..., bytes]
NAME = "hf://datasets/ann/likes"


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that is read as if it were ann/likes on the hub."""
    datasets.disable_progress_bars()
    folder = tmp_path / "repository"
    folder.mkdir()

    def from_here(address: Address) -> DatasetBuilder:
        assert (address.name, address.revision) == ("ann/likes", None)
        return load_dataset_builder(str(folder), address.configuration, cache_dir=str(tmp_path / "cache"))

    monkeypatch.setattr(hub, "_from_hub", from_here)
    return folder


def likes(paint: Paint, number: int = 3) -> Dataset:
    features = Features({"image": Image(), "text": Value("string"), "Label": ClassLabel(names=["like", "dislike"])})
    cells = {
        "image": [{"bytes": paint(n), "path": f"{n}.png"} for n in range(number)],
        "text": [f"fox {n}" for n in range(number)],
        "Label": [n % 2 for n in range(number)],
    }
    return Dataset.from_dict(cells, features=features)


def said(found: list[SourceRow]) -> list[tuple[str | None, bool | None, bytes | None]]:
    return [(each.prompt, each.liked, each.image and each.image()) for each in found]


# --- addresses


@pytest.mark.parametrize(
    ("text", "address", "certain"),
    [
        ("hf://datasets/ann/likes", "hf://datasets/ann/likes", True),
        ("hf://datasets/ann/likes@v1.0/small", "hf://datasets/ann/likes@v1.0/small", True),
        (
            "hf://datasets/ann/likes@refs/convert/parquet/small",
            "hf://datasets/ann/likes@refs/convert/parquet/small",
            True,
        ),
        ("https://huggingface.co/datasets/ann/likes/", "hf://datasets/ann/likes", True),
        ("ann/likes", "hf://datasets/ann/likes", False),
        ("ann/likes-2.0@main", "hf://datasets/ann/likes-2.0@main", False),
    ],
)
def test_addresses(text: str, address: str, certain: bool) -> None:
    for path in (text, Path(text)):
        found = address_in(path)
        assert found is not None and str(found) == address and found.certain == certain
    assert hub.recognises(Path(text)) == certain
    assert hub.may_name(Path(text))


@pytest.mark.parametrize(
    "text", ["likes", "a/b/c", "/ann/likes", "../likes", "ann/..", "ann/li kes", "hf://ann/likes", "hf://datasets/ann"]
)
def test_what_is_no_address(text: str) -> None:
    assert address_in(text) is None and not hub.recognises(Path(text)) and not hub.may_name(Path(text))
    with refused("hub-not-address", UsageError, naming=[text, "hf://datasets/OWNER/NAME"]):
        HubDataset(text)


def test_paths_that_are_here_or_tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert hub.may_name(Path("ann/likes")) and not hub.may_name(Path("ann/likes.csv"))
    (tmp_path / "ann" / "likes").mkdir(parents=True)
    assert not hub.may_name(Path("ann/likes"))
    with refused("hub-local-folder", UsageError, naming="ann/likes"):
        HubDataset(NAME)


# --- rows


@pytest.mark.parametrize("where", [NAME, Path(NAME), "ann/likes"])
def test_parquet(repository: Path, paint: Paint, where: Path | str) -> None:
    likes(paint).to_parquet(repository / "data" / "train-00000-of-00001.parquet")
    source = HubDataset(where)
    found = list(source)
    assert said(found) == [("fox 0", True, paint(0)), ("fox 1", False, paint(1)), ("fox 2", True, paint(2))]
    assert said(list(source)) == said(found), "a second pass"
    assert (found[0].where, found[0].source) == ("hf://datasets/ann/likes, row 1", "ann/likes")


def test_labels_are_read_without_the_images(repository: Path, paint: Paint, monkeypatch: pytest.MonkeyPatch) -> None:
    """From Parquet, where columns lie apart; and of rows, a few at a time."""
    likes(paint, 150).to_parquet(repository / "train.parquet")
    opened, sizes = [], []
    open_stream = HubDataset._opened

    def opened_with(self: HubDataset, columns: list[str] | None = None) -> datasets.IterableDataset:
        opened.append(columns)
        stream = open_stream(self, columns)
        sizes.extend(table.num_rows for _, table in stream._ex_iterable.iter_arrow())  # type: ignore[misc]
        return stream

    monkeypatch.setattr(HubDataset, "_opened", opened_with)
    assert len(list(HubDataset(NAME))) == 150
    assert opened == [None, ["Label"]]
    assert sizes == [64, 64, 22] * 2


def test_numbers_mean_what_all_rows_say(repository: Path, paint: Paint) -> None:
    made = Dataset.from_dict({"jpg": [paint(n) for n in range(3)], "prompt": ["fox"] * 3, "score": [0, 1, 4]})
    made.to_parquet(repository / "train.parquet")
    assert [each.liked for each in HubDataset(NAME)] == [None] * 3
    assert [each.liked for each in HubDataset(NAME, Reading(like_at=1, limit=2))] == [False, True]
    with refused("column-missing", UsageError, naming=["ann/likes", " who;", "jpg, prompt, score"]):
        HubDataset(NAME, Reading(columns={"rater": "who"}))


def test_splits_and_configurations(repository: Path, paint: Paint) -> None:
    likes(paint, 2).to_parquet(repository / "train.parquet")
    likes(paint, 1).to_parquet(repository / "test.parquet")
    with refused("split-needed", UsageError, naming=["hf://datasets/ann/likes", "train, test"]):
        HubDataset(NAME)
    assert len(list(HubDataset(NAME, Reading(split="train")))) == 2
    assert len(list(HubDataset(NAME, Reading(split="test")))) == 1
    card = "---\nconfigs:\n- {config_name: small, data_files: test.parquet}\n"
    (repository / "README.md").write_text(f"{card}- {{config_name: large, data_files: train.parquet}}\n---\n")
    assert len(list(HubDataset(f"{NAME}/small"))) == 1
    assert len(list(HubDataset(f"{NAME}/large"))) == 2
    with refused("hub-not-opened", naming="['small', 'large']"):
        HubDataset(NAME)


def test_json_lines(repository: Path) -> None:
    rows = [{"file_name": name, "prompt": "fox", "label": "like"} for name in ("a.png", "/etc/passwd", "file:///a")]
    rows.append({"file_name": "http://example.org/a.png", "prompt": "fox", "label": "like"})
    rows.append({"file_name": "hf://datasets/bob/secret/a.png", "prompt": "fox", "label": "like"})
    (repository / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    *named, web, other = HubDataset(NAME)
    assert all("is only a file name; download the data set" in (each.problem or "") for each in named)
    assert "is a URL; use --allow-download" in (web.problem or "")
    assert "is not an http address" in (other.problem or "")


def test_images_beside_the_rows(repository: Path, paint: Paint, monkeypatch: pytest.MonkeyPatch) -> None:
    address = "hf://datasets/ann/likes@abc/img/a.png"
    rows = [{"image": {"bytes": None, "path": path}, "prompt": "fox", "label": True} for path in (address, "zip://x")]
    rows.append({**rows[0], "image": {"bytes": None, "path": f"zip://a.png::{address}"}})
    rows.append({**rows[0], "image": {"bytes": None, "path": address.replace("img", "..")}})
    features = Features({"image": Image(decode=False), "prompt": Value("string"), "label": Value("bool")})
    Dataset.from_list(rows, features=features).to_parquet(repository / "train.parquet", batch_size=2)
    monkeypatch.setattr(hub, "_fetched", lambda named: named.encode())
    assert [each.image and each.image().decode() for each in HubDataset(NAME)] == [
        address,
        None,
        f"zip://a.png::{address}",
        None,
    ]


def test_what_is_fetched(monkeypatch: pytest.MonkeyPatch, paint: Paint) -> None:
    import fsspec

    with fsspec.open("memory://likes/a.png", "wb") as file:
        file.write(paint(1))  # type: ignore[union-attr]
    assert hub._fetched("memory://likes/a.png") == paint(1)
    with pytest.raises(UnreadableImage, match="could not be fetched"):
        hub._fetched("memory://likes/none.png")
    monkeypatch.setattr("thumbtune.feedback.images.MAX_BYTES", 10)
    with pytest.raises(UnreadableImage, match="it is larger than"):
        hub._fetched("memory://likes/a.png")


def test_shards_of_webdataset(repository: Path, paint: Paint) -> None:
    with tarfile.open(repository / "train-0.tar", "w") as archive:
        for number in range(2):
            about = json.dumps({"prompt": f"fox {number}", "label": number, "url": "x"}).encode()
            for name, data in {f"{number}.png": paint(number), f"{number}.json": about}.items():
                info = tarfile.TarInfo(name)
                info.size = len(data)
                archive.addfile(info, io.BytesIO(data))
    assert said(list(HubDataset(NAME))) == [("fox 0", False, paint(0)), ("fox 1", True, paint(1))]


# --- what goes wrong


def test_kinds_that_are_not_read(repository: Path) -> None:
    (repository / "a.xml").write_text("<a/>")
    with refused("hub-unsupported", naming="xml"):
        HubDataset(NAME)


def test_code_is_never_run(repository: Path, paint: Paint) -> None:
    """A data set's own script is not even looked at."""
    (repository / "repository.py").write_text("raise SystemExit('code of a stranger')")
    (repository / "likes.py").write_text("raise SystemExit('code of a stranger')")
    with refused("hub-not-opened", naming=NAME):
        HubDataset(NAME)
    likes(paint).to_parquet(repository / "train.parquet")
    with refused("hub-not-opened", naming=NAME):
        HubDataset(NAME)


def test_no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(address: Address) -> DatasetBuilder:
        raise ConnectionError("no route to host\n\n<html>\nand a page of HTML")

    monkeypatch.setattr(hub, "_from_hub", unreachable)
    with refused("hub-not-opened", naming=["hf://datasets/ann/likes", "(ConnectionError: no route to host <html>)"]):
        HubDataset(NAME)


@pytest.mark.slow
def test_tries_at_a_network_are_not_told_one_by_one() -> None:
    program = """
import logging
from thumbtune.cli.terminal import quieten
quieten()
import datasets, huggingface_hub.utils
print([logging.getLogger(name).getEffectiveLevel() for name in ("huggingface_hub", "datasets")])"""
    environment = {name: value for name, value in os.environ.items() if not name.endswith("VERBOSITY")}
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    assert done.stdout == f"{[logging.ERROR] * 2}\n"


def test_a_network_that_breaks_off(repository: Path, paint: Paint, monkeypatch: pytest.MonkeyPatch) -> None:
    likes(paint, 70).to_parquet(repository / "train.parquet")
    rows = datasets.IterableDataset.__iter__
    broken = []

    def one_and_no_more(self: datasets.IterableDataset) -> object:
        for number, row in enumerate(rows(self)):
            if broken and number == 1:
                raise TimeoutError("too slow")
            yield row

    monkeypatch.setattr(datasets.IterableDataset, "__iter__", one_and_no_more)
    source = HubDataset(NAME, Reading(like_at=1))
    assert len(list(source)) == 70
    broken.append(True)
    with refused("hub-broke-off", naming=["likes", "row 1 ", "(TimeoutError: too slow)"]):
        list(source)
