"""Words for likes and dislikes: both halves of every pair, in labels and folders, and words of one's own."""

from collections.abc import Callable
from pathlib import Path

import pytest
from refusals import refused

from thumbtune.errors import UsageError
from thumbtune.feedback.importers import import_likes
from thumbtune.feedback.reading.labels import Scale
from thumbtune.feedback.reading.own_words import parse_map_label
from thumbtune.feedback.reading.vocabulary import (
    label_of_folder,
    label_of_phrase,
    labels_of_folders,
    nearest,
    plain,
)
from thumbtune.feedback.source import Reading
from thumbtune.feedback.sources.folders import LikeFolders
from thumbtune.feedback.sources.kinds import open_source
from thumbtune.feedback.sources.table import Table
from thumbtune.feedback.store.store import Store

Paint = Callable[..., bytes]
Call = Callable[..., tuple[int, str, str]]

PAIRS = """
    like/dislike good/bad up/down yes/no chosen/rejected accept/reject accepted/rejected approve/disapprove
    approved/declined approved/denied keep/trash keep/discard kept/deleted keep/remove win/lose winner/loser win/loss
    favorite/disliked favourite/bad love/hate loved/hated best/worst better/worse positive/negative upvote/downvote
    thumbs_up/thumbs_down preferred/dispreferred selected/unselected picked/rejected great/terrible yay/nay
    👍/👎 ❤️/💔 ✅/❌ ✔️/✖️ 👍🏽/👎🏿 😍/🤮 true/false
    ja/nein gut/schlecht gefällt/gefälltnicht behalten/löschen angenommen/abgelehnt oui/non bon/mauvais aimé/rejeté
    sí/no bueno/malo aceptado/rechazado 喜欢/不喜欢 好/差 通过/拒绝 赞/踩 好き/嫌い いいね/悪い はい/いいえ
""".split()


@pytest.mark.parametrize("pair", PAIRS)
def test_both_halves_of_a_pair(pair: str) -> None:
    """In a column of labels, and as two folders."""
    like, dislike = pair.split("/")
    for change in (str, str.upper, str.title, lambda word: f" {word}! "):
        assert (label_of_phrase(change(like)), label_of_phrase(change(dislike))) == (True, False)
    assert labels_of_folders([like, "other", dislike]) == {like: True, dislike: False}


@pytest.mark.parametrize("pair", ["w/l", "W/L", "1/0", "+1/-1", "pass/fail", "hit/miss", "ok/nok"])
def test_folders_that_are_labels_only_beside_each_other(pair: str) -> None:
    like, dislike = pair.split("/")
    assert labels_of_folders([like, dislike]) == {like: True, dislike: False}
    assert labels_of_folders([like]) == labels_of_folders([dislike]) == {}


@pytest.mark.parametrize(
    "names", [["0", "1", "2"], ["love"], ["win", "mac"], ["true"], ["no"], ["trash"], ["a", "b"], ["best"], ["1", "2"]]
)
def test_folders_that_may_be_named_so_for_another_reason(names: list[str]) -> None:
    assert labels_of_folders(names) == {}


@pytest.mark.parametrize(
    ("text", "liked"),
    [
        ("👍 Like", True), ("Like it", True), ("I like it", True), ("Good image", True), ("very good", True),
        ("Good quality", True), ("1 - Good", True), ("✅ yes", True), ("my favorites", True), ("❤️‍🔥", True),
        ("👎 Dislike", False), ("Bad image", False), ("2: Bad", False), ("❌ Reject", False), ("very bad", False),
        ("not good", False), ("don't like", False), ("do not like it", False), ("never liked", False),
        ("no image", None), ("no opinion", None), ("not sure", None), ("not bad", None), ("like / dislike", None),
        ("good and bad", None), ("👍👎", None), ("👍👍", None), ("maybe", None), ("★ good", None), ("likely", None),
        ("would like more", None), ("yes/no", None), ("", None), ("?", None), ("good " * 20, None), ("no good", None),
    ],
)  # fmt: skip
def test_phrases(text: str, liked: bool | None) -> None:
    assert label_of_phrase(text) is liked


COUNTS = """0 likes|0 upvotes|Liked = 0|0 like|1 dislike|3 dislikes|0 👍|👎 0|👎: 0|20% good|0% like|good 0|bad - 1
    5/5 good|0 - likes|1: dislikes|0.5 good|-1 good|2 good|12 downvotes|likes: 0|0 favs|0. upvotes|0 good images"""
FIELDS = """disliked: no|Disliked = false|selected: false|like: no|keep=false|rejected no|delete: n|trash: 否
    schlecht: nein|mauvais : non|disliked: nay|rejected = ✗|dislike: ❌|👎: no|bad\uff1ano|disliked: yes"""
DENIALS = """no dislike|no loss|no dislikes|no, bad|un-liked|un liked|non-rejected|no-reject|no 👎|not rejected
    不 差|no likes|do not dislike|don't not like|like it not|good, not|not good, like
    not the best|isn't perfect|never disliked
    no, me gusta|no bad image|nicht schlecht|un-rejected|not un-liked"""


@pytest.mark.parametrize(
    "text", [text.strip() for text in "|".join((COUNTS, FIELDS, DENIALS)).replace("\n", "|").split("|")]
)
def test_counts_fields_and_denials_have_no_label(text: str) -> None:
    """Neither in a column nor as a folder, even beside folders of both labels."""
    assert label_of_phrase(text) is None and label_of_folder(text) is None
    assert labels_of_folders(["good", "bad", text]) == {"good": True, "bad": False}


@pytest.mark.parametrize(
    ("text", "liked"),
    [("liked: yes", True), ("Vote: like", True), ("label = bad", False), ("❌ No", False), ("No ❌", False),
     ("👎 No", False), ("Yes ✅", True), ("liked: ✓", True), ("I do like it", True), ("I do dislike it", False),
     ("(1) Good", True), ("2) Bad", False), ("0 - Bad", False), ("1. 👍", True), ("1_like", True), ("like:", True),
     ("not very good", False), ("do not keep", False), ("Thumb-up", True), ("dis-like", False)],
)  # fmt: skip
def test_phrases_that_can_mean_one_thing_only(text: str, liked: bool) -> None:
    assert label_of_phrase(text) is liked


@pytest.mark.parametrize(
    ("name", "liked"),
    [("good_images", True), ("01_like", True), ("My Favorites", True), ("bad pictures", False), ("not-liked", False),
     ("beautiful", None), ("no", None), ("10_good dog", None), ("likeness", None)],
)  # fmt: skip
def test_folders_with_more_words(name: str, liked: bool | None) -> None:
    assert label_of_folder(name) is liked


def test_slips() -> None:
    names = ("dislikez", "lik", "likez", "rejcted", "approvd", "like", "cats", "love")
    assert [nearest(name) for name in names] == ["dislike", None, "like", "rejected", "approved", None, None, None]


def test_no_slip_is_seen_in_a_word_with_letters_before_it() -> None:
    """The advice for a folder `un-liked` must not be to read it as like."""
    assert [nearest(name) for name in ("un-liked", "nonliked", "unreject", "non-approved", "undislike")] == [None] * 5


def test_words_that_count_in_a_column_only_beside_their_opposite() -> None:
    for column, liked in (("pass fail pass", [True, False, True]), ("pass pass", [None, None]), ("w l", [True, False])):
        scale = Scale()
        for cell in column.split():
            scale.add(cell)
        assert [scale.liked(cell) for cell in column.split()] == liked


# --- words of one's own


def test_words_of_ones_own() -> None:
    words = parse_map_label("Like it=like, Reject = dislike,Meh=skip,-1=skip,4=like,a=b=like,?=skip")
    assert words == {
        "like it": "like", "reject": "dislike", "meh": "skip", "-1": "skip", "4": "like", "a b": "like", "?": "skip",
    }  # fmt: skip
    scale = Scale(own=words)
    cells = ("Like-it!", "meh", 4, "4.0", -1, "dislike", "REJECT", 1)
    for cell in cells:
        scale.add(cell)
    assert [scale.liked(cell) for cell in cells] == [True, None, True, True, None, False, False, True]
    assert [scale.skips(cell) for cell in cells] == [False, True, False, False, True, False, False, False]
    assert not scale.skips(10**5000) and not scale.skips("x" * 10**6), "a cell of any size"
    assert plain("Like-it!") == "like it" and plain(-1.0) == "-1"


@pytest.mark.parametrize(
    ("text", "code"),
    [("", "map-label-malformed"), ("like", "map-label-malformed"), ("=like", "map-label-malformed"),
     ("x=", "map-label-malformed"), ("x=good", "map-label-unknown-meaning"),
     ("x=like,X=dislike", "map-label-repeated")],
)  # fmt: skip
def test_mappings_of_labels_that_say_nothing(text: str, code: str) -> None:
    with refused(code, UsageError):
        parse_map_label(text)


def table_of(folder: Path, paint: Paint, *labels: str) -> Path:
    for number, _ in enumerate(labels):
        (folder / f"{number}.png").write_bytes(paint(number))
    rows = "".join(f"{number}.png,a fox {number},{label}\n" for number, label in enumerate(labels))
    (folder / "t.csv").write_text(f"file_name,prompt,label\n{rows}", encoding="utf-8")
    return folder / "t.csv"


def test_words_of_ones_own_in_a_table(tmp_path: Path, paint: Paint, file_store: Store) -> None:
    file = table_of(tmp_path, paint, "Yum", "Yuck", "Meh", "like")
    reading = Reading(words={"yum": "like", "yuck": "dislike", "meh": "skip"})
    assert [(row.liked, row.unrated) for row in Table(file, reading)] == [
        *((True, False), (False, False), (None, True), (True, False))
    ]
    report = import_likes(file, file_store, reading=reading, strict=True)
    assert (report.likes, report.dislikes, report.rows) == (2, 1, 3)
    with refused("map-label-other-meaning", UsageError, naming="first"):
        Table(file, Reading(words={"yum": "first"}))


def test_an_import_that_ends_one_sided_says_so(tmp_path: Path, paint: Paint, call: Call) -> None:
    file = table_of(tmp_path, paint, "like", "like", "Nope!", "hmm")
    code, out, _ = call("import", file, "--likes", tmp_path / "likes")
    assert code == 0 and "1 label was not read: 'hmm' (1)." in out and "training needs both" not in out
    file = table_of(tmp_path, paint, "like", "like", "zut", "zut", "hmm")
    code, out, _ = call("import", file, "--likes", tmp_path / "other", "--dry-run")
    assert "The source has 2 likes and no dislikes; training needs both." in out
    assert "3 labels were not read: 'zut' (2), 'hmm' (1)." in out and "--map-label 'zut=dislike,hmm=dislike'" in out
    code, out, _ = call("import", file, "--likes", tmp_path / "other", "--map-label", "zut=dislike,hmm=skip")
    assert code == 0 and "2 likes, 2 dislikes" in out and "training needs both" not in out


# --- folders


def folders_of(root: Path, paint: Paint, *names: str) -> Path:
    for number, name in enumerate(names):
        (root / name).mkdir(parents=True)
        (root / name / "a.png").write_bytes(paint(number))
        (root / name / "a.txt").write_text(f"a fox {number}")
    return root


@pytest.mark.parametrize(
    "names", ["approved rejected", "keep trash", "w l", "chosen rejected", "👍 👎", "1 0", "Yes No"]
)
def test_both_folders_of_a_pair_are_read(tmp_path: Path, paint: Paint, names: str) -> None:
    like, dislike = names.split()
    source = open_source(folders_of(tmp_path / "x", paint, like, dislike))
    assert isinstance(source, LikeFolders)
    assert {row.where: row.liked for row in source} == {f"{like}/a.png": True, f"{dislike}/a.png": False}
    assert source.described() == [f"read: {like} (1 image) as like, {dislike} (1 image) as dislike."]


def test_a_folder_that_looks_like_an_opinion_is_named(tmp_path: Path, paint: Paint, call: Call) -> None:
    root = folders_of(tmp_path / "x", paint, "like", "dislikez", "cats")
    code, out, _ = call("import", root, "--likes", tmp_path / "likes")
    assert code == 0
    assert "read: like (1 image) as like; not read: cats (1 image), dislikez (1 image)." in out
    assert "The folder dislikez was not read. Did you mean dislike?" in out
    assert "To read it: --map-label 'dislikez=dislike'." in out
    assert "The source has 1 like and no dislikes; training needs both." in out
    code, out, _ = call("import", root, "--likes", tmp_path / "likes", "--map-label", "dislikez=dislike,like=skip")
    assert "read: dislikez (1 image) as dislike; not read:" in out


def test_folders_in_words_of_ones_own(tmp_path: Path, paint: Paint, call: Call) -> None:
    root = folders_of(tmp_path / "x", paint, "yum", "yuck")
    code, _, err = call("import", root, "--likes", tmp_path / "likes")
    assert code != 0 and "its folders are yuck, yum" in err and "--map-label" in err
    code, out, _ = call("import", root, "--likes", tmp_path / "likes", "--map-label", "yum=like,yuck=dislike")
    assert code == 0 and "1 like, 1 dislike" in out
