"""Files of a duel that something has damaged: one sentence that names the file."""

import json
from pathlib import Path
from typing import Any

import pytest
from refusals import refused

from thumbtune.duels.gallery_folder import claim, known_hashes
from thumbtune.evaluation.duel_folder import is_of_earlier_evaluation, read_duel
from thumbtune.evaluation.human.duel_pairs import read_side_names

SIDE = {"name": "base", "kind": "model", "fingerprint": "0", "prompt_prefix": None}
MANIFEST = {
    **{"form": 2, "sides": {"a": SIDE, "b": SIDE}, "base": None, "prompts": {"name": "p", "count": 1, "of": 1}},
    **{"source": "p.txt", "seeds": {"first": 0, "per_prompt": 1}, "sampler": {"steps": 1, "guidance": 3.0}, "batch": 8},
}
REACH = {"low": 0.0, "high": 1.0}
ROW = {
    **{"scorer": "red", "estimand": "median", "style": None, "prompts": 1, "rate": 0.5, "wins": 0, "ties": 1},
    **{"losses": 0, "distinct": 1, "bootstrap": REACH, "wilson": REACH, "sign_test": 1.0, "holm": 1.0},
}
RESULT = {
    **{"a": "base", "b": "run", "prompts": 1, "per_prompt": 1, "tie": 0.0, "paper_ci": False, "asked": ["red"]},
    "scorers": [{"id": "red", "revision": "1", "preprocessing": "none", "failed": {}}],
    **{"sentences": [], "standings": [ROW, {"scorer": "blue", "estimand": "median", "style": None, "prompts": 0}]},
}
VERDICT = {
    "decision": "ship",
    "sentence": "Ship.",
    "gates": [{"name": "gain", "answer": "passed", "sentence": "It won."}],
}
HEAD = "side,prompt,seed,file,sha256,words,style\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, content in (("duel.json", MANIFEST), ("result.json", RESULT), ("verdict.json", VERDICT)):
        (tmp_path / name).write_text(json.dumps(content))
    (tmp_path / "environment.json").write_text("{}")
    (tmp_path / "images.csv").write_text(f"{HEAD}a,0,0,a/0.png,00,a cat,\nb,0,0,b/0.png,00,a cat,\n")
    (tmp_path / "scores.csv").write_text("scorer,side,prompt,seed,score\nred,a,0,0,0.5\nred,b,0,0,\n")
    return tmp_path


def test_a_whole_folder_is_read(folder: Path) -> None:
    duel = read_duel(folder)
    result = {"scorer_names" if name == "asked" else name: value for name, value in RESULT.items()}
    assert duel.manifest == MANIFEST and duel.result == result and duel.verdict == VERDICT | {"agreement": None}
    assert list(duel.images) == [("a", 0, 0), ("b", 0, 0)] and duel.scores == {"red": {"a": {(0, 0): 0.5}}}
    assert read_side_names(folder) == ("base", "run")


def changed(content: Any, path: str, value: Any) -> str:
    """JSON with one value put in place, or taken away where it is `...`."""
    copy = json.loads(json.dumps(content))
    *names, last = [int(part) if part.isdecimal() else part for part in path.split(".")]
    inside = copy
    for name in names:
        inside = inside[name]
    if value is ...:
        del inside[last]
    else:
        inside[last] = value
    return json.dumps(copy)


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("duel.json", changed(MANIFEST, "sides.a", None), "sides.a"),
        ("duel.json", changed(MANIFEST, "sides", None), "sides"),
        ("duel.json", changed(MANIFEST, "sides.b", ...), "no side b"),
        ("duel.json", changed(MANIFEST, "sides.a.name", 3), "sides.a.name"),
        ("duel.json", changed(MANIFEST, "prompts.count", "one"), "prompts.count"),
        ("duel.json", changed(MANIFEST, "seeds.first", True), "seeds.first"),
        ("duel.json", changed(MANIFEST, "sampler", ...), "sampler"),
        ("duel.json", changed({**MANIFEST, "form": 1}, "sides.a", []), "sides.a"),
        ("result.json", changed(RESULT, "standings.0.rate", None), "rate"),
        ("result.json", changed(RESULT, "standings.0.bootstrap", []), "bootstrap"),
        ("result.json", changed(RESULT, "standings", {}), "standings"),
        ("result.json", changed(RESULT, "scorers.0.failed", ["a"]), "failed"),
        ("result.json", changed(RESULT, "a", None), "a"),
        ("result.json", "{", "JSON"),
        ("result.json", "[" * 50_000, "nested"),
        ("verdict.json", changed(VERDICT, "gates.0.answer", "perhaps"), "answer"),
        ("verdict.json", changed(VERDICT, "gates.0.answer", ...), "no answer"),
        ("verdict.json", changed(VERDICT, "gates", None), "gates"),
        ("environment.json", "[]", "dictionary"),
        ("images.csv", "", "no column side"),
        ("images.csv", HEAD + "a,0,0\n", "line 2"),
        ("images.csv", HEAD + "a,x,0,a/0.png,00,a cat,\n", "prompt"),
        ("images.csv", HEAD + "a,0,0,a/0.png,00,a cat,,more\n", "too long"),
        ("images.csv", HEAD + f"a,{'9' * 5000},0,a/0.png,00,a cat,\n", "prompt"),
        ("scores.csv", "scorer,side,prompt,seed\nred,a,0,0\n", "no column score"),
        ("scores.csv", "scorer,side,prompt,seed,score\nred,a,0,0,high\n", "'high'"),
    ],
)
def test_a_damaged_file_is_named(folder: Path, name: str, text: str, said: str) -> None:
    (folder / name).write_text(text)
    with refused("duel-unreadable", naming=[folder, name, said]):
        read_duel(folder)


@pytest.mark.parametrize("name", ["duel.json", "result.json", "verdict.json", "images.csv", "scores.csv"])
def test_what_is_no_text_is_named(folder: Path, name: str) -> None:
    (folder / name).write_bytes(b'{"a": "caf\xe9"}')
    with refused("duel-unreadable", naming=name):
        read_duel(folder)


def test_the_names_of_sides_are_not_guessed(folder: Path) -> None:
    (folder / "result.json").write_text('{"a": null, "b": "run"}')
    with refused("duel-unreadable", naming=folder / "result.json"):
        read_side_names(folder)
    (folder / "result.json").unlink()
    assert read_side_names(folder) == ("a", "b")


@pytest.mark.parametrize("side", ["../outside", "/", "..", "a/../../outside", ""])
def test_a_manifest_cannot_name_a_folder_outside_of_the_duel(
    folder: Path, tmp_path_factory: pytest.TempPathFactory, side: str
) -> None:
    out = tmp_path_factory.mktemp("duels") / "duel"
    folder.rename(out)
    (kept := out.parent / "outside").mkdir()
    (kept / "precious.txt").touch()
    (out / "duel.json").write_text(json.dumps({**MANIFEST, "sides": {side: SIDE, "b": SIDE}}))
    with refused("duel-unreadable", naming="duel.json"):
        claim(out, {**MANIFEST, "batch": 9}, replace=True)
    assert (kept / "precious.txt").is_file()


def test_a_damaged_manifest_is_no_evaluation_of_an_earlier_version(folder: Path) -> None:
    for text, is_earlier in (("[]", False), ("{", False), ("3", False), ('{"sides": {}}', True)):
        (folder / "duel.json").write_text(text)
        assert is_of_earlier_evaluation(folder) is is_earlier


def test_a_damaged_list_of_images_is_named(folder: Path) -> None:
    (folder / "images.csv").write_text("side,prompt\na,0\n")
    with refused("duel-unreadable", naming=folder / "images.csv"):
        known_hashes(folder)
