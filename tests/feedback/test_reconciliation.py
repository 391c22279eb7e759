"""Votes that a re-imported source no longer contains are counted, and with `correct` undone."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from invokeai_gallery import VERSION_3, add, database_in, run
from refusals import refused

from thumbtune.feedback.images import UnreadableImage
from thumbtune.feedback.importers import ImportReport, import_likes
from thumbtune.feedback.source import PairPolicy, Reading
from thumbtune.feedback.store.store import Store

Call = Callable[..., tuple[int, str, str]]
Paint = Callable[..., bytes]
PAIRS = "chosen,rejected,prompt\na.png,b.png,fox\nb.png,c.png,fox\n"


@pytest.fixture
def pairs(tmp_path: Path, paint: Paint) -> Path:
    """A wins, b wins once and loses once, c loses."""
    (tmp_path / "pairs").mkdir()
    for number, name in enumerate("abc"):
        (tmp_path / "pairs" / f"{name}.png").write_bytes(paint(number))
    (tmp_path / "pairs" / "pairs.csv").write_text(PAIRS)
    return tmp_path / "pairs" / "pairs.csv"


def by_policy(file: Path, store: Store, policy: PairPolicy, correct: bool = False) -> ImportReport:
    return import_likes(file, store, reading=Reading(policy=policy), correct=correct)


def liked(store: Store) -> dict[str, bool]:
    return {row.image.sha256: row.liked for row in store.labels()}


def test_what_another_policy_leaves_out(store: Store, pairs: Path) -> None:
    assert by_policy(pairs, store, "wi_l").withdrawn == 0
    before = liked(store)
    assert sorted(before.values()) == [False, True, True]
    report = by_policy(pairs, store, "w_l")
    assert (report.rows, report.duplicates, report.withdrawn) == (2, 2, 1)
    assert liked(store) == before, "without --correct it is only counted"
    assert by_policy(pairs, store, "w_l", correct=True).withdrawn == 1
    assert sorted(liked(store).values()) == [False, True]
    votes = store.counts().votes
    assert by_policy(pairs, store, "w_l", correct=True).withdrawn == 0
    assert store.counts().votes == votes, "nothing is left to undo"
    assert by_policy(pairs, store, "wi_l", correct=True).likes == 1
    assert liked(store) == before


def test_all_imported_votes_on_an_image_are_undone(store: Store, pairs: Path) -> None:
    """If only the latest vote were undone, the one before it would count again."""
    for policy in ("wi_l", "w_il"):
        by_policy(pairs, store, policy)
    assert sorted(liked(store).values()) == [False, False, True]
    by_policy(pairs, store, "w_l", correct=True)
    assert sorted(liked(store).values()) == [False, True]


def test_other_raters_keep_their_votes(store: Store, pairs: Path) -> None:
    by_policy(pairs, store, "wi_l")
    for row in list(store.labels()):
        store.vote(row.image, "like", rater="ann")
    by_policy(pairs, store, "w_l", correct=True)
    assert [row.rater for row in store.labels()].count("ann") == 3


def test_a_star_that_was_taken_away(store: Store, tmp_path: Path, paint: Paint) -> None:
    root = database_in(tmp_path / "invokeai", VERSION_3)
    for number, name in enumerate(("a.png", "b.png")):
        add(root, name, starred=True, image=paint(number))
    import_likes(root, store)
    run(root, "UPDATE images SET starred = FALSE WHERE image_name = 'a.png'")
    report = import_likes(root, store)
    assert (report.rows, report.duplicates, report.withdrawn, len(liked(store))) == (1, 1, 1, 2)
    report = import_likes(root, store, correct=True, dry_run=True)
    assert (report.withdrawn, len(liked(store))) == (1, 2)
    assert import_likes(root, store, correct=True).withdrawn == 1
    assert len(liked(store)) == 1
    run(root, "UPDATE images SET starred = FALSE")
    assert import_likes(root, store, correct=True).withdrawn == 1, "though nothing in it has a vote now"
    assert not liked(store)


def test_images_of_prompts_that_are_new_are_not_read(
    store: Store, tmp_path: Path, paint: Paint, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A gallery has tens of thousands of images without a star."""
    root = database_in(tmp_path / "invokeai", VERSION_3)
    add(root, "a.png", starred=True, image=paint(0))
    add(root, "b.png", image=paint(1))
    add(root, "c.png", image=paint(2), metadata='{"positive_prompt": "a hare"}')
    read = []

    def note(path: Path) -> bytes:
        read.append(path.name)
        return path.read_bytes()

    monkeypatch.setattr("thumbtune.feedback.sources.contrib.invokeai.read_image", note)
    for names in (["a.png"], ["a.png", "b.png"]):
        read.clear()
        import_likes(root, store)
        assert read == names


def test_a_label_that_was_emptied(store: Store, table: Path, write_jsonl: Callable[..., Path]) -> None:
    rows = [{"file_name": f"img/{name}.png", "prompt": "fox", "label": True} for name in "abc"]
    import_likes(write_jsonl(*rows), store)
    rows[0]["label"] = None
    rows += [{"file_name": "img/b.png", "prompt": "fox", "label": None}]  # another row of b still says like
    report = import_likes(write_jsonl(*rows), store)
    assert (report.without_label, report.duplicates, report.withdrawn) == (2, 2, 1)
    import_likes(write_jsonl(*rows), store, correct=True)
    assert len(liked(store)) == 2


def test_an_image_that_is_gone_withdraws_nothing(
    store: Store, tmp_path: Path, paint: Paint, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = database_in(tmp_path / "invokeai", VERSION_3)
    for number, name in enumerate(("a.png", "b.png")):
        add(root, name, starred=True, image=paint(number))
    import_likes(root, store)
    run(root, "UPDATE images SET starred = FALSE WHERE image_name = 'a.png'")

    def gone(path: Path) -> bytes:
        if path.name == "a.png":
            raise UnreadableImage("it is gone")
        return path.read_bytes()

    monkeypatch.setattr("thumbtune.feedback.sources.contrib.invokeai.read_image", gone)
    report = import_likes(root, store, correct=True)
    assert (report.withdrawn, report.skipped, len(liked(store))) == (0, [], 2)


def test_the_command_prints_it(call: Call, pairs: Path, tmp_path: Path) -> None:
    words = ("import", pairs, "--likes", tmp_path / "likes", "--policy")
    assert call(*words, "wi_l")[0] == 0
    out = call(*words, "w_l")[1]
    assert re.search(r"1 image .*--correct", out)
    out = call(*words, "w_l", "--correct")[1]
    assert re.search(r"1 vote .* undone", out)


def folder(root: Path, **images: bytes) -> Path:
    """Write images named by their folder, as `like__x`, each with the same prompt."""
    for name, data in images.items():
        file = root.joinpath(*name.split("__")).with_suffix(".png")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
        file.with_suffix(".txt").write_text("fox")
    return root


def test_votes_of_another_source_are_not_undone(store: Store, tmp_path: Path, paint: Paint) -> None:
    import_likes(folder(tmp_path / "one", like__x=paint(0)), store)
    report = import_likes(folder(tmp_path / "two", like__y=paint(1), x=paint(0)), store, correct=True)
    assert (report.withdrawn, len(liked(store))) == (0, 2)


def test_votes_that_were_not_imported_are_not_undone(store: Store, tmp_path: Path, paint: Paint) -> None:
    root = folder(tmp_path / "one", like__y=paint(1), x=paint(0))
    store.vote(store.add_image(paint(0), "fox"), "dislike", rater="import")
    report = import_likes(root, store, correct=True)
    assert (report.withdrawn, sorted(liked(store).values())) == (0, [False, True])


def test_a_part_of_a_source_undoes_nothing(store: Store, table: Path, write_jsonl: Callable[..., Path]) -> None:
    rows = [{"file_name": "img/a.png", "prompt": "fox", "label": label} for label in (None, True)]
    file = write_jsonl(*rows)
    import_likes(file, store)
    with refused("import-no-usable-row", naming=file):
        import_likes(file, store, reading=Reading(limit=1), correct=True)
    assert len(liked(store)) == 1


def test_an_undone_vote_is_added_again_with_correct(store: Store, tmp_path: Path, paint: Paint) -> None:
    root = folder(tmp_path / "one", like__x=paint(0), like__y=paint(1))
    import_likes(root, store)
    for end in (".png", ".txt"):
        (root / "like" / "x").with_suffix(end).rename((root / "x").with_suffix(end))
    assert import_likes(root, store, correct=True).withdrawn == 1
    for end in (".png", ".txt"):
        (root / "x").with_suffix(end).rename((root / "like" / "x").with_suffix(end))
    ((_, why),) = import_likes(root, store).skipped
    assert "import's vote was undone" in why and "--correct" in why
    assert import_likes(root, store, strict=True).duplicates == 2, "strict accepts duplicates"
    report = import_likes(root, store, correct=True)
    assert (report.likes, report.duplicates, len(liked(store))) == (1, 1, 2)
    votes = store.counts().votes
    import_likes(root, store, correct=True)
    assert store.counts().votes == votes


def test_a_folder_without_any_label_is_refused(store: Store, tmp_path: Path, paint: Paint) -> None:
    root = folder(tmp_path / "one", maybe__x=paint(0))
    (root / "like").mkdir()
    with refused("import-no-labels", naming=(root, "1 image")):
        import_likes(root, store)


@pytest.mark.slow
def test_a_rater_of_half_a_character_undoes_nothing(
    store: Store, table: Path, write_jsonl: Callable[..., Path]
) -> None:
    row = {"file_name": "img/a.png", "prompt": "fox", "label": True}
    import_likes(write_jsonl(row), store)
    odd = [row, {**row, "label": None, "rater": "\ud800"}, {**row, "label": None, "rater": "a\0b"}]
    assert import_likes(write_jsonl(*odd), store).without_label == 2
