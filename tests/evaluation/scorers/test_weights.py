"""Files as published: found, checked, read as tensors alone, converted once."""

import pickle
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from refusals import refused
from safetensors.torch import load_file, save_file

from thumbtune.errors import ThumbtuneError
from thumbtune.evaluation.scorers import weights
from thumbtune.evaluation.scorers.published_files import Locations, PublishedFile, fetch
from thumbtune.evaluation.scorers.weights import convert_weights, read_tensors
from thumbtune.files import file_sha256


class Harm:
    """What a pickle may do when it is read."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> Any:
        return (Path.touch, (self.file,))


def test_a_pickle_is_never_run(tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    torch.save({"weight": Harm(mark)}, tmp_path / "new.pt")
    (tmp_path / "old.pt").write_bytes(pickle.dumps({"weight": Harm(mark)}))
    for name in ("new.pt", "old.pt"):
        with refused("weights-unreadable", naming=tmp_path / name):
            read_tensors(tmp_path / name)
    assert not mark.exists()


def test_weights_are_found_in_a_state_dict_as_well(tmp_path: Path) -> None:
    torch.save({"state_dict": {"w": torch.ones(2)}, "epoch": 3}, tmp_path / "a.pt")
    torch.save({"w": torch.ones(2)}, tmp_path / "b.pt")
    save_file({"w": torch.ones(2)}, tmp_path / "c.safetensors")
    for name in ("a.pt", "b.pt", "c.safetensors"):
        assert torch.equal(read_tensors(tmp_path / name)["w"], torch.ones(2))


@pytest.mark.parametrize("what", ["empty", "text", "torn", "list", "numbers", "page"])
def test_what_holds_no_weights_is_named(tmp_path: Path, what: str) -> None:
    file = tmp_path / "model.pt"
    if what == "torn":
        torch.save({"w": torch.ones(1000)}, file)
        file.write_bytes(file.read_bytes()[:700])
    elif what in ("list", "numbers"):
        torch.save([torch.ones(2)] if what == "list" else {"lr": 3}, file)
    else:
        file.write_bytes({"empty": b"", "text": b"not weights\n", "page": b"<html>Not LocalFile</html>"}[what])
    with refused("weights-unreadable", naming=file):
        read_tensors(file)
    (tmp_path / "m.safetensors").write_bytes(file.read_bytes())
    with refused("weights-unreadable", naming=tmp_path / "m.safetensors"):
        read_tensors(tmp_path / "m.safetensors")


def test_a_file_of_another_hash_is_refused(tmp_path: Path) -> None:
    (tmp_path / "head.pth").write_bytes(b"one thing")
    right = file_sha256(tmp_path / "head.pth")
    locations = Locations(local=tmp_path)
    assert fetch(PublishedFile("head.pth", url="https://example.org", sha256=right), locations).sha256 == right
    with refused("published-file-hash-mismatch", naming=[tmp_path / "head.pth", f"{right[:12]}...", "0000"]):
        fetch(PublishedFile("head.pth", url="https://example.org", sha256="0" * 64), locations)


def test_a_folder_is_looked_at_under_the_repository_s_name_first(tmp_path: Path) -> None:
    (tmp_path / "one" / "repo").mkdir(parents=True)
    (tmp_path / "model.bin").write_bytes(b"of no repository")
    (tmp_path / "one" / "repo" / "model.bin").write_bytes(b"of the repository")
    assert (
        fetch(PublishedFile("model.bin", "one/repo"), Locations(local=tmp_path)).path
        == tmp_path / "one" / "repo" / "model.bin"
    )
    assert fetch(PublishedFile("model.bin", "another/repo"), Locations(local=tmp_path)).path == tmp_path / "model.bin"
    with refused("weights-folder-missing", naming=[tmp_path / "nowhere", "model.bin"]):
        fetch(PublishedFile("model.bin", "one/repo"), Locations(local=tmp_path / "nowhere"))


@pytest.mark.parametrize(
    "file", [PublishedFile("w.pt", "one/repo"), PublishedFile("w.pt", url="https://example.org/w.pt")]
)
def test_offline_nothing_is_fetched(tmp_path: Path, file: PublishedFile, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.hub, "download_url_to_file", lambda *_, **__: pytest.fail("it was fetched"))
    with refused("published-file-offline", naming=["w.pt", "--weights"]):
        fetch(file, Locations(cache=tmp_path, offline=True))


def test_what_is_fetched_from_an_address_is_checked_and_kept(tmp_path: Path) -> None:
    torch.save({"w": torch.ones(2)}, tmp_path / "there.pth")
    sha256 = file_sha256(tmp_path / "there.pth")
    locations = Locations(cache=tmp_path / "cache")
    here = PublishedFile("head.pth", url=(tmp_path / "there.pth").as_uri(), sha256=sha256)
    found = fetch(here, locations)
    assert found.path == tmp_path / "cache" / "published" / "head.pth" and found.sha256 == sha256
    (tmp_path / "there.pth").unlink()
    assert fetch(here, Locations(cache=tmp_path / "cache", offline=True)) == found
    other = PublishedFile("other.pth", url=(tmp_path / "cache" / "published" / "head.pth").as_uri(), sha256="0" * 64)
    with refused("published-file-missing", naming=["other.pth", "invalid hash"]):
        fetch(other, locations)
    assert [p.name for p in (tmp_path / "cache" / "published").iterdir()] == ["head.pth"]  # nothing half-fetched


def test_an_address_that_does_not_answer_is_named(tmp_path: Path) -> None:
    gone = PublishedFile("head.pth", url=(tmp_path / "gone.pth").as_uri())
    with refused("published-file-missing", naming=gone.url):
        fetch(gone, Locations(cache=tmp_path))


def test_a_file_of_the_hub_bears_its_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    there = tmp_path / "models--one--repo" / "snapshots" / "c0ffee" / "w.pt"
    there.parent.mkdir(parents=True)
    there.write_bytes(b"weights")
    asked: list[Any] = []

    def download(*what: Any, **how: Any) -> str:
        asked.append((what, how))
        return str(there)

    monkeypatch.setattr("huggingface_hub.hf_hub_download", download)
    found = fetch(
        PublishedFile("w.pt", "one/repo", revision="main", kind="dataset"), Locations(cache=tmp_path, offline=True)
    )
    assert (found.path, found.sha256, found.revision) == (there, file_sha256(there), "c0ffee")
    assert asked == [(("one/repo", "w.pt"), {"repo_type": "dataset", "revision": "main", "local_files_only": True})]
    (tmp_path / "w.pt").write_bytes(b"nearer")
    near = fetch(PublishedFile("w.pt", "one/repo", revision="main"), Locations(local=tmp_path))
    assert (near.path, near.revision) == (tmp_path / "w.pt", "main") and len(asked) == 1


@pytest.mark.parametrize("error", [OSError("no route\nto host"), ValueError(""), TimeoutError()])
def test_a_hub_that_does_not_answer_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def download(*_: Any, **__: Any) -> str:
        raise error

    monkeypatch.setattr("huggingface_hub.hf_hub_download", download)
    with refused("published-file-missing", naming=["w.pt", "one/repo"]):
        fetch(PublishedFile("w.pt", "one/repo"), Locations(cache=tmp_path))


def test_weights_are_converted_once_for_each_file(tmp_path: Path) -> None:
    torch.save({"a": torch.arange(6.0).view(2, 3).T}, tmp_path / "w.pt")
    found = fetch(PublishedFile("w.pt", "one/repo"), Locations(local=tmp_path))
    times = []

    def mapping(state: weights.Tensors) -> weights.Tensors:
        times.append(1)
        return {"b": state["a"]}

    locations = Locations(cache=tmp_path / "cache")
    first = convert_weights(found, mapping, locations)
    assert convert_weights(found, mapping, locations) == first and len(times) == 1
    assert torch.equal(load_file(first)["b"], torch.arange(6.0).view(2, 3).T)
    assert first.name == f"{found.sha256}.safetensors" and zipfile.is_zipfile(tmp_path / "w.pt")


def test_a_conversion_that_breaks_off_leaves_nothing(tmp_path: Path) -> None:
    torch.save({"a": torch.ones(1)}, tmp_path / "w.pt")
    found = fetch(PublishedFile("w.pt", "one/repo"), Locations(local=tmp_path))

    def broken(state: weights.Tensors) -> weights.Tensors:
        raise ThumbtuneError("There is no such name.", code="scorer-weights-mismatch")

    with refused("scorer-weights-mismatch", naming="no such name"):
        convert_weights(found, broken, Locations(cache=tmp_path / "cache"))
    assert not list((tmp_path / "cache").rglob("*.safetensors*"))
