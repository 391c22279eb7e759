"""Thumbs in a folder, a store made of them, and small settings."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

Call = Callable[..., tuple[int, str, str]]
SMALL = [
    "train.steps=6",
    "train.batch=4",
    "train.micro_batch=2",
    "train.checkpoint_every=2",
    "train.validation_share=0.3",
]
SMALL += ["train.lr=1e-4", "train.cooldown=0"]  # so few steps would be cool-down and nothing else


COMMAND = """
import sys, thumbtune
from thumbtune.cli.app import main

def command(*words):
    sys.argv = ["thumbtune", *words]
    try:
        main()
    except SystemExit as stop:
        assert not stop.code, (words, stop.code)
"""


@pytest.fixture(scope="session")
def apart() -> Callable[..., None]:
    """(program, words) -> run a program with a function `command` in a process of its own, as imports take seconds."""

    def run(program: str, *words: object) -> None:
        done = subprocess.run(
            [sys.executable, "-c", f"{COMMAND}\n{program}", *map(str, words)],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr

    return run


@pytest.fixture
def small() -> list[str]:
    """Options of a training of seconds."""
    return SMALL


def _thumbs(folder: Path) -> Path:
    for kind, colour in (("like", "red"), ("dislike", "blue")):
        for i in range(10):
            path = folder / "thumbs" / kind / f"{colour}-{i}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (16, 16), (20 * i, 0, 0) if colour == "red" else (0, 20 * i, 255)).save(path)
            path.with_suffix(".txt").write_text(f"thing {i}")
    return folder / "thumbs"


def _options(likes: Path, model: Path) -> list[str]:
    return [f"likes={likes}", f"model={model}", *SMALL, "evaluate.steps=2", "evaluate.per_prompt=2"]


def _as_words(options: list[str]) -> list[str]:
    return [word for option in [*options, "evaluate.scorers=red"] for word in ("--set", option)]


@pytest.fixture
def thumbs(tmp_path: Path) -> Path:
    """like/ and dislike/ folders: ten red and ten blue images of ten prompts, prompts beside them."""
    return _thumbs(tmp_path)


@pytest.fixture
def likes(call: Call, thumbs: Path, tmp_path: Path) -> Path:
    code, out, err = call("import", thumbs, "--likes", tmp_path / "likes")
    assert code == 0, err
    assert "20 rows: 10 likes, 10 dislikes" in out
    return tmp_path / "likes"


@pytest.fixture
def settings(likes: Path, tiny_pipeline: Callable[[str], Path]) -> list[str]:
    """--set options of a small run on a tiny pipeline."""
    return _as_words(_options(likes, tiny_pipeline("epsilon")))


@pytest.fixture(scope="session")
def shared_likes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store as that of `likes`, made once; do not write to it."""
    from thumbtune.feedback.importers import import_likes
    from thumbtune.feedback.store.store import Store

    folder = tmp_path_factory.mktemp("shared")
    with Store.open(folder / "likes") as store:
        import_likes(_thumbs(folder), store)
    return folder / "likes"


@pytest.fixture(scope="session")
def shared_settings(shared_likes: Path, tiny_pipeline: Callable[[str], Path]) -> list[str]:
    """As `settings`, with the store that is shared."""
    return _as_words(_options(shared_likes, tiny_pipeline("epsilon")))


@pytest.fixture(scope="session")
def _trained(shared_likes: Path, tiny_pipeline: Callable[[str], Path]) -> Path:
    from thumbtune.runs.recipe import read_recipe
    from thumbtune.runs.tuning import tune
    from thumbtune.training.progress import quiet

    options = [*_options(shared_likes, tiny_pipeline("epsilon")), "evaluate.scorers=red"]
    folder = shared_likes.parent / "trained" / "run"
    assert [step.step for step in tune(read_recipe(None, options), folder, quiet)] == [1, 2, 3, 4, 5, 6]
    return folder


def _copying(run: Path) -> Callable[[Path], Path]:
    def copied(folder: Path) -> Path:
        shutil.copytree(run, folder)
        shutil.copytree(run.parent / "cache", folder.parent / "cache", dirs_exist_ok=True)
        return folder

    return copied


@pytest.fixture
def trained_at(_trained: Path) -> Callable[[Path], Path]:
    """folder -> a finished run of `shared_settings`: a copy of one that is trained once, with its cache beside it."""
    return _copying(_trained)


@pytest.fixture(scope="session")
def _evaluated(_trained: Path) -> Path:
    from thumbtune.duels.evaluate import evaluate_run

    folder = _copying(_trained)(_trained.parents[1] / "evaluated" / "run")
    assert evaluate_run(folder)["decision"]
    return folder


@pytest.fixture
def evaluated_at(_evaluated: Path) -> Callable[[Path], Path]:
    """As `trained_at`, evaluated too."""
    return _copying(_evaluated)
