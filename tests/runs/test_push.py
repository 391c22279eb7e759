"""`thumbtune push` and `thumbtune likes push`, against a hub on this machine."""

import io
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from huggingface_hub import DatasetCard, ModelCard, constants, snapshot_download
from local_hub import TOKEN, Hub, running
from PIL import Image, PngImagePlugin
from safetensors.torch import load_file

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with running() as served:
        monkeypatch.setattr(constants, "ENDPOINT", served.address)
        template = served.address + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        yield served


@pytest.fixture
def run(call: Call, settings: list[str], tmp_path: Path) -> Path:
    folder = tmp_path / "private-place" / "my-run"
    code, _, err = call("train", "--out", folder, *settings, "--set", "train.sample_every=6")
    assert code == 0, err
    return folder


@pytest.mark.slow
def test_a_pushed_run_downloaded_again_draws_in_diffusers(
    call: Call, run: Path, hub: Hub, tiny_pipeline: Callable[[str], Path], tmp_path: Path
) -> None:
    code, out, err = call("push", run, "user/my-run")
    assert code == 0, err
    assert "private: you can read it" in out and f"{hub.address}/user/my-run" in out
    repository = hub.repos["models", "user/my-run"]
    assert repository.private and len(repository.commits) == 1
    images = {name for name in repository.files if name.startswith("images/")}
    weights = {"pytorch_lora_weights.safetensors", "kohya.safetensors"}
    assert repository.files.keys() == {"README.md", *weights, *images} and images
    for name in repository.files:
        assert name in out
    assert b"private-place" not in b"".join(repository.files.values())
    assert hub.validated == [repository.files["README.md"].decode()]

    place = tmp_path / "elsewhere"
    snapshot_download("user/my-run", local_dir=place / "user" / "my-run", endpoint=hub.address, token=TOKEN)
    name = "pytorch_lora_weights.safetensors"
    there, here = load_file(place / "user" / "my-run" / name), load_file(run / "lora" / name)
    assert there.keys() == here.keys() and all((there[key] == here[key]).all() for key in here)
    card = ModelCard.load(place / "user" / "my-run" / "README.md")
    for entry in card.data.to_dict()["widget"]:
        assert (place / "user" / "my-run" / entry["output"]["url"]).is_file()
    (place / "epsilon").symlink_to(tiny_pipeline("epsilon"))
    snippet = re.findall(r"```python\n(.*?)```", card.text, flags=re.DOTALL)[0]
    assert '"user/my-run"' in snippet
    done = subprocess.run([sys.executable, "-c", snippet], cwd=place, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    with Image.open(place / "image.png") as drawn:
        assert drawn.size == (16, 16)


@pytest.mark.slow
def test_what_would_be_pushed_is_told_without_a_token(
    call: Call, run: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("HF_TOKEN")
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "no-token"))
    code, out, err = call("push", run, "user/my-run", "--public", "--dry-run")
    assert code == 0 and "public: everybody can read it" in out and "kohya.safetensors" in out, err
    code, _, err = call("push", run, "user/my-run")
    assert code == 1 and err.count("\n") == 1 and "hf auth login" in err
    assert not hub.repos


@pytest.mark.parametrize("name", ["my-run", "user/my run", "a/b/c", "user/"])
def test_a_bad_name_is_refused_before_anything_else(call: Call, hub: Hub, name: str, tmp_path: Path) -> None:
    code, _, err = call("push", tmp_path, name)
    assert code == 2 and "user/name" in err


@pytest.mark.slow
def test_a_repository_that_others_may_read_is_not_pushed_to_by_default(call: Call, run: Path, hub: Hub) -> None:
    assert call("push", run, "user/open", "--public")[0] == 0
    repository = hub.repos["models", "user/open"]
    assert not repository.private
    code, _, err = call("push", run, "user/open")
    assert code == 2 and "add --public" in err and len(repository.commits) == 1
    assert call("push", run, "user/open", "--public")[0] == 0
    repository.private = True
    code, _, err = call("push", run, "user/open", "--public")
    assert code == 2 and "leave out --public" in err


@pytest.mark.slow
def test_refusals_of_the_hub_are_one_sentence(call: Call, run: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.refuses_commits = 403
    code, _, err = call("push", run, "user/name")
    assert code == 1 and err.count("\n") == 1 and "does not let this token write to user/name" in err
    hub.refuses_commits = 400
    code, _, err = call("push", run, "user/name")
    assert code == 1 and err.count("\n") == 1 and "The upload to user/name failed" in err
    monkeypatch.setenv("HF_TOKEN", "hf_another")
    code, _, err = call("push", run, "user/other")
    assert code == 1 and err.count("\n") == 1 and "does not let this token write" in err
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    code, _, err = call("push", run, "user/name")
    assert code == 1 and err.count("\n") == 1 and "does not answer" in err


@pytest.mark.slow
def test_a_run_without_a_result_is_refused(call: Call, run: Path, hub: Hub) -> None:
    for file in (run / "lora").glob("*.safetensors"):
        file.unlink()
    code, _, err = call("push", run, "user/name")
    assert code == 1 and "training has not finished" in err and not hub.repos


@pytest.mark.slow
def test_pushed_likes_have_pseudonyms_no_text_and_no_metadata_and_are_imported_again(
    call: Call, hub: Hub, tmp_path: Path
) -> None:
    info = PngImagePlugin.PngInfo()
    info.add_text("parameters", "secret-workflow /home/ann/models")
    for kind, colour in (("like", "red"), ("dislike", "blue")):
        folder = tmp_path / "secret-folder" / kind
        folder.mkdir(parents=True)
        for i in range(3):
            Image.new("RGB", (8, 8), colour).resize((8, 8 + i)).save(folder / f"{i}.png", pnginfo=info)
            (folder / f"{i}.txt").write_text(f"thing {i}")
    assert call("import", tmp_path / "secret-folder", "--likes", tmp_path / "likes")[0] == 0
    code, out, err = call("likes", "push", tmp_path / "likes", "user/my-likes", "--license", "cc0-1.0")
    assert code == 0, err
    assert "private" in out and f"{hub.address}/datasets/user/my-likes" in out
    repository = hub.repos["datasets", "user/my-likes"]
    assert repository.private and repository.files.keys() == {"README.md", "data/train-00000-of-00001.parquet"}
    place = tmp_path / "again"
    snapshot_download("user/my-likes", repo_type="dataset", local_dir=place, endpoint=hub.address, token=TOKEN)

    from datasets import load_dataset

    rows = load_dataset(str(place), split="train", cache_dir=str(tmp_path / "cache"))
    assert sorted(zip(rows["prompt"], rows["label"], strict=True)) == sorted(
        (f"thing {i}", liked) for i in range(3) for liked in (False, True)
    )
    assert all(re.fullmatch("rater-[0-9a-f]{16}", name) for name in rows["rater"])
    assert {*rows["reason"], *rows["source"]} == {None}
    colours = {(row["label"], row["image"].convert("RGB").getpixel((0, 0))) for row in rows}
    assert colours == {(True, (255, 0, 0)), (False, (0, 0, 255))}
    whole = b"".join(repository.files.values())
    assert b"secret" not in whole and b"ann" not in whole.replace(b"annot", b"")
    card = DatasetCard.load(place / "README.md")
    header = card.data.to_dict()
    assert header["license"] == "cc0-1.0" and header["size_categories"] == ["n<1K"]
    assert "3 likes and 3 dislikes of 6 images of 3 prompts" in card.text and rows["rater"][0] in card.text

    code, out, err = call("import", place, "--likes", tmp_path / "fresh")
    assert code == 0 and "6 rows: 3 likes, 3 dislikes" in out, err


def test_text_is_pushed_when_asked(call: Call, hub: Hub, tmp_path: Path, thumbs: Path) -> None:
    assert call("import", thumbs, "--likes", tmp_path / "likes")[0] == 0
    assert call("likes", "push", tmp_path / "likes", "user/likes", "--with-text", "--public")[0] == 0
    from pyarrow import parquet

    repository = hub.repos["datasets", "user/likes"]
    assert not repository.private
    table = parquet.read_table(io.BytesIO(repository.files["data/train-00000-of-00001.parquet"]))
    assert set(table["source"].to_pylist()) == {"thumbs"}
