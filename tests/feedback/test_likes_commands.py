"""The commands about likes, as somebody types them, on a folder and on a real server."""

import io
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from thumbtune.feedback import importers
from thumbtune.feedback.store.schema import NEWEST
from thumbtune.feedback.store.store import Store, is_store

Call = Callable[..., tuple[int, str, str]]
Paint = Callable[..., bytes]
PAIRS = """chosen,rejected,prompt,rater
a.png,b.png,fox,ann
a.png,c.png,fox,bob
c.png,b.png,fox,bob
d.png,d.png,fox,bob
"""


@pytest.fixture
def images(tmp_path: Path, paint: Paint) -> Path:
    (tmp_path / "pictures").mkdir()
    for number, name in enumerate("abcd"):
        (tmp_path / "pictures" / f"{name}.png").write_bytes(paint(number))
    return tmp_path / "pictures"


@pytest.fixture
def rated(images: Path) -> Path:
    (images / "t.csv").write_text("img,caption,stars,user\na.png,fox,5,ann\nb.png,hare,1,ann\nc.png,bear,4,bob\n")
    return images / "t.csv"


MAPPED = ("--map", "image=img,label=stars", "--like-at", 4)


def test_a_rehearsal_is_a_table_and_leaves_nothing(call: Call, rated: Path, tmp_path: Path) -> None:
    before = sorted(tmp_path.rglob("*"))
    code, out, err = call("import", rated, *MAPPED, "--likes", tmp_path / "likes", "--dry-run")
    assert code == 0, err
    numbers = [line.split() for line in out.splitlines()]
    assert ["all", "3"] in numbers and ["likes", "2"] in numbers and ["dislikes", "1"] in numbers
    assert "Nothing was written" in out
    assert sorted(tmp_path.rglob("*")) == before


def test_reasons_in_the_table_of_a_rehearsal_are_whole(call: Call, images: Path, tmp_path: Path) -> None:
    rows = [f"missing-{number}.png,fox,5" for number in range(25)]
    (images / "t.csv").write_text("\n".join(["img,caption,stars", "a.png,fox,5", "b.png,fox,nine", *rows]))
    code, out, err = call("import", images / "t.csv", *MAPPED, "--likes", tmp_path / "likes", "--dry-run")
    assert code == 0, err
    reasons = [line.split(maxsplit=1)[1] for line in out.splitlines() if line.startswith("          1  ")]
    assert len(reasons) == 20 and all(why.endswith(("remove the row", "as in --map label=opinion")) for why in reasons)
    assert max(map(len, reasons)) > 100, "which was the limit"
    assert "  ... and 6 more reasons\n" in out


def test_a_password_is_in_no_table(call: Call, images: Path, tmp_path: Path) -> None:
    (images / "t.csv").write_text("img,caption,stars\na.png,fox,5\nhttp://ann:secret@host/b.png,fox,5\n")
    code, out, err = call("import", images / "t.csv", *MAPPED, "--likes", tmp_path / "likes", "--dry-run")
    assert code == 0 and "host/b.png" in out
    assert "secret" not in out + err


@pytest.mark.parametrize(
    ("stars", "words"),
    [
        ((5, 1), "Next: thumbtune train --likes"),
        ((5, 5), "It holds no dislike yet. Next: thumbtune import FOLDER --label dislike --likes"),
        ((1, 1), "It holds no like yet, and a training needs some: thumbtune import FOLDER --label like --likes"),
    ],
)
def test_what_comes_next_is_what_can_be_done(
    call: Call, images: Path, tmp_path: Path, stars: tuple[int, int], words: str
) -> None:
    (images / "t.csv").write_text(f"img,caption,stars\na.png,fox,{stars[0]}\nb.png,fox,{stars[1]}\n")
    code, out, err = call("import", images / "t.csv", *MAPPED, "--likes", tmp_path / "likes")
    assert code == 0, err
    assert words in out and ("Next: thumbtune train" in out) == (stars == (5, 1))
    assert ("--objective sft" in out) == (stars == (5, 5)), "likes alone can be learnt from"


def test_pairs_say_what_the_policy_makes_of_them(call: Call, images: Path, tmp_path: Path) -> None:
    (images / "p.csv").write_text(PAIRS)
    code, out, err = call("import", images / "p.csv", "--policy", "w_l", "--likes", tmp_path / "likes", "--dry-run")
    assert code == 0, err
    assert "policy w_l: 1 liked, 1 disliked, 1 left out; 50.0% of those with a label are liked" in out
    code, out, err = call("import", images / "p.csv", "--likes", tmp_path / "likes")
    assert code == 0, err
    assert "policy wi_l: 2 liked, 1 disliked, 0 left out; 66.7% of those with a label are liked" in out
    assert "3 rows: 2 likes, 1 dislike, 0 duplicates" in out


def test_stats_and_erasing(call: Call, rated: Path, tmp_path: Path) -> None:
    likes = tmp_path / "likes"
    assert call("import", rated, *MAPPED, "--likes", likes)[0] == 0
    out = call("likes", "stats", "--likes", likes)[1]
    assert "ann  1 like, 1 dislike, 50.0% liked" in out and "majority     2 likes, 1 dislike, 66.7% liked" in out
    code, _, err = call("likes", "erase", "anne", "--likes", likes, "--yes")
    assert code == 2 and "'anne'" in err and "bob" not in err
    code, out, _ = call("likes", "erase", "ann", "--likes", likes, "--yes")
    assert code == 0 and "2 votes of ann were" in out and "2 images have no like or dislike" in out
    assert b"ann" not in b"".join(path.read_bytes() for path in likes.rglob("*") if path.is_file())
    assert "ann" not in call("likes", "stats", "--likes", likes)[1]


def test_erasing_asks_first(call: Call, rated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert call("import", rated, *MAPPED, "--likes", tmp_path / "likes")[0] == 0
    monkeypatch.setattr("typer.confirm", lambda text, abort: (_ for _ in ()).throw(SystemExit(1)))
    assert call("likes", "erase", "ann", "--likes", tmp_path / "likes")[0] == 1
    with Store.open(tmp_path / "likes") as store:
        assert store.counts().votes == 3


def test_where_there_are_no_likes_commands_say_so(call: Call, tmp_path: Path) -> None:
    for words in (("stats",), ("erase", "ann", "--yes"), ("upgrade",)):
        code, _, err = call("likes", *words, "--likes", tmp_path / "none")
        assert code == 1 and "import some likes first." in err
    assert not (tmp_path / "none").exists()


def test_a_first_import_of_nothing_leaves_no_store(call: Call, rated: Path, tmp_path: Path) -> None:
    code, _, err = call("import", rated, "--map", "image=img", "--likes", tmp_path / "likes")
    assert code == 1 and "give the lowest rating that is a like, as in --like-at 4" in err
    assert not (tmp_path / "likes").exists()


def test_a_first_import_that_is_stopped_keeps_what_it_has(
    call: Call, rated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(rows: object, what: str) -> object:
        for number, row in enumerate(rows):  # type: ignore[arg-type, var-annotated]
            if number == 2:
                raise KeyboardInterrupt
            yield row

    monkeypatch.setattr("thumbtune.cli.likes.bar", stop)
    monkeypatch.setattr(importers, "ROWS_AT_ONCE", 1)
    code, _, err = call("import", rated, *MAPPED, "--likes", tmp_path / "likes")
    assert code == 130 and "2 rows were imported" in err
    assert is_store(tmp_path / "likes")
    monkeypatch.setattr("thumbtune.cli.likes.bar", lambda rows, what: rows)
    assert (
        "3 rows: 1 like, 0 dislikes, 2 duplicates" in call("import", rated, *MAPPED, "--likes", tmp_path / "likes")[1]
    )


def test_a_team_s_server(call: Call, rated: Path, database: str, tmp_path: Path) -> None:
    code, _, err = call("import", rated, *MAPPED, "--likes", database, "--dry-run")
    assert code == 0, err
    code, _, err = call("likes", "stats", "--likes", database)
    assert code == 1 and "no store of likes; import some likes first" in err, "a rehearsal makes no tables"
    code, _, err = call("import", rated, *MAPPED, "--likes", database)
    assert code == 2 and "--images" in err
    code, out, err = call("import", rated, *MAPPED, "--likes", database, "--images", tmp_path / "shared")
    assert code == 0 and "3 rows: 2 likes, 1 dislike" in out, err
    assert len([path for path in (tmp_path / "shared").rglob("*") if path.is_file()]) == 3
    assert "bob  1 like, 0 dislikes" in call("likes", "stats", "--likes", database)[1]
    assert f"was up to date already (schema {NEWEST})" in call("likes", "upgrade", "--likes", database)[1]


@pytest.mark.parametrize("form", ["parquet", "datasets", "folder", "webdataset"])
def test_what_is_exported_is_imported_again(call: Call, rated: Path, tmp_path: Path, form: str) -> None:
    assert call("import", rated, *MAPPED, "--likes", tmp_path / "likes")[0] == 0
    code, out, err = call("likes", "export", tmp_path / "out", "--likes", tmp_path / "likes", "--as", form)
    told = "each is a rater's latest vote on an image; earlier votes and 0 skips are left out."
    assert code == 0 and f"3 rows: 2 likes, 1 dislike; {told}" in out, err
    code, out, err = call("import", tmp_path / "out", "--likes", tmp_path / "again")
    assert code == 0 and "3 rows: 2 likes, 1 dislike, 0 duplicates" in out, err
    with Store.open(tmp_path / "likes") as before, Store.open(tmp_path / "again") as after:
        labels = [
            {(row.image.sha256, row.image.prompt): row.liked for row in each.labels()} for each in (before, after)
        ]
        assert labels[0] == labels[1]
        assert {row.rater for row in after.labels()}.isdisjoint({"ann", "bob"})
    code, _, err = call("likes", "export", tmp_path / "out", "--likes", tmp_path / "likes")
    assert code != 0 and str(tmp_path / "out") in err


def test_an_address_is_named_without_its_password_and_can_be_typed_again() -> None:
    from thumbtune.feedback.store.database import name_of
    from thumbtune.runs.recipe import read_recipe

    assert "secret" not in (shown := name_of("postgresql://ann:secret@db.example.org/thumbs"))
    assert shown == name_of("postgresql://ann@db.example.org/thumbs").replace("ann:@", "ann@")
    # what a local server calls itself: a password of no characters is none
    assert "ann" in str(read_recipe(None, [f"likes={name_of('postgresql://ann:@/thumbs?host=/tmp/pg')}"]).likes)
    assert "ann" in str(read_recipe(None, ["likes=postgresql://ann:@/thumbs?host=/tmp/pg"]).likes)


@pytest.mark.parametrize("place", ["zzz://bucket", "s3-that-is-none://bucket/x"])
def test_a_place_that_nobody_opens_leaves_no_store(call: Call, rated: Path, tmp_path: Path, place: str) -> None:
    """A new store is bound to its place: with a bad one nothing could be imported any more."""
    likes = tmp_path / "likes"
    code, _, err = call("import", rated, *MAPPED, "--likes", likes, "--images", place)
    assert code == 1 and f"The image location {place} cannot be opened here" in err
    assert not likes.exists()
    assert call("import", rated, *MAPPED, "--likes", likes)[0] == 0


def test_a_place_that_nobody_opens_leaves_no_tables(call: Call, rated: Path, database: str, tmp_path: Path) -> None:
    assert call("import", rated, *MAPPED, "--likes", database, "--images", "zzz://bucket")[0] == 1
    assert call("import", rated, *MAPPED, "--likes", database, "--images", tmp_path / "shared")[0] == 0


def test_images_in_the_memory_of_a_command_are_refused(call: Call, rated: Path, tmp_path: Path) -> None:
    code, _, err = call("import", rated, *MAPPED, "--likes", tmp_path / "likes", "--images", "memory://x")
    assert code == 2 and "memory://x would be lost when this command ends; name a folder" in err
    assert not (tmp_path / "likes").exists()


def test_training_says_which_image_is_gone(call: Call, rated: Path, tmp_path: Path) -> None:
    likes = tmp_path / "likes"
    assert call("import", rated, *MAPPED, "--likes", likes)[0] == 0
    with Store.open(likes) as store:
        for row in store.labels():
            Path(store.address_of(row.image)).unlink()
        address = store.address_of(next(iter(store.labels())).image)
    held_out = ("--set", "train.validation_share=0")
    code, _, err = call("train", "--out", tmp_path / "run", "--set", f"likes={likes}", *held_out, "--dry-run")
    assert code == 1 and f"{address} could not be read (No such file or directory); restore it, or import it" in err


def test_the_next_command_can_be_typed(call: Call, rated: Path, tmp_path: Path) -> None:
    out = call("import", rated, *MAPPED, "--likes", tmp_path / "my likes")[1]
    assert f"Next: thumbtune train --likes '{tmp_path / 'my likes'}'" in out


def test_names_of_raters_leave_the_terminal_alone(call: Call, images: Path, tmp_path: Path) -> None:
    """What somebody is called may hold the escape sequences of terminals, or be longer than any line."""
    names = ["\x1b[31mred\x1b[0m", "y" * 500 + "1", "y" * 500 + "2"]
    with Store.open(tmp_path / "likes") as store:
        image = store.add_image((images / "a.png").read_bytes(), "fox")
        for name in names:
            store.vote(image, "like", rater=name)
    code, out, _ = call("likes", "stats", "--likes", tmp_path / "likes")
    assert code == 0 and "\x1b" not in out and r"\x1b[31mred\x1b[0m" in out
    assert max(map(len, out.splitlines())) < 250
    assert out.count("1 like, 0 dislikes, 100.0% liked\n") == 3, "each has a line, however it is cut"
    code, _, err = call("likes", "erase", "red", "--likes", tmp_path / "likes", "--yes")
    assert code == 2 and "\x1b" not in err


def test_columns_of_other_names_lead_to_the_option(call: Call, images: Path, tmp_path: Path) -> None:
    (images / "de.csv").write_text("bilddatei,prompt,urteil\nnone,fox,1\n")
    words = ("import", images / "de.csv", "--likes", tmp_path / "likes")
    _, _, err = call(*words)
    assert (
        "none of its columns (bilddatei, prompt, urteil) contains images; name the column of images, as in --map image="
        in err
    )
    (images / "de.csv").write_text("bilddatei,prompt,urteil\na.png,fox,1\n")
    _, _, err = call(*words)
    assert "read: bilddatei as image, prompt; not read: urteil." in err, "its cells are names of images"
    _, _, err = call(*words, "--map", "image=bilddatei")
    assert (
        "(columns: bilddatei, prompt, urteil): none of its columns contains likes and dislikes; name the column" in err
    )
    assert call(*words, "--map", "image=bilddatei,label=urteil")[0] == 0


def test_a_label_that_is_not_understood_is_shown(call: Call, images: Path, tmp_path: Path) -> None:
    (images / "t.csv").write_text("image,prompt,label\na.png,fox,meh\n")
    _, _, err = call("import", images / "t.csv", "--likes", tmp_path / "likes")
    assert "its label 'meh' is neither like nor dislike; give its meaning, as in --map-label 'meh=skip'" in err


def test_a_table_without_rows(call: Call, images: Path, tmp_path: Path) -> None:
    (images / "t.csv").write_text("image,prompt,label\n")
    _, _, err = call("import", images / "t.csv", "--likes", tmp_path / "likes")
    assert "t.csv contains no rows and no images" in err


def test_what_is_no_file_is_not_called_absent(call: Call, images: Path, tmp_path: Path) -> None:
    (images / "folder.png").mkdir()
    os.mkfifo(images / "pipe.png")
    (images / "t.csv").write_text("image,prompt,label\nfolder.png,fox,1\npipe.png,fox,1\na.png,fox,1\n")
    _, _, err = call("import", images / "t.csv", "--likes", tmp_path / "likes")
    assert err.count("is a folder or a device") == 2


def test_ctrl_c_is_told_where_a_command_has_no_word_for_it(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("thumbtune.feedback.sources.kinds.KINDS", _Stops())
    code, _, err = call("likes", "kinds")
    assert code == 130 and err == "thumbtune: Stopped; what was saved before is whole.\n"


class _Stops:
    def __iter__(self) -> None:
        raise KeyboardInterrupt


def test_ctrl_c_while_the_commands_are_loaded() -> None:
    program = """
import sys
class Stops:
    def find_spec(self, name, path, target=None):
        if name == "thumbtune.cli.app":
            raise KeyboardInterrupt
sys.meta_path.insert(0, Stops())
from thumbtune.cli import main
main()"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (130, "thumbtune: Stopped.\n")


@pytest.mark.slow
def test_an_erased_rater_stays_erased_at_the_next_import(
    call: Call, rated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    likes = tmp_path / "likes"
    words = ("import", rated, *MAPPED, "--likes", likes)
    assert call(*words)[0] == 0
    for name, store in (("mine", likes), ("other", tmp_path / "else")):
        (tmp_path / "runs" / name).mkdir(parents=True)
        (tmp_path / "runs" / name / "recipe.yaml").write_text(f"likes: {store}\n")
    code, out, _ = call("likes", "erase", "ann", "--likes", likes, "--yes")
    assert code == 0 and "Delete them in their sources too" in out
    assert f"likes.parquet: {tmp_path / 'runs' / 'mine'}; train them again." in out
    code, out, err = call(*words, "--dry-run")
    assert code == 0 and ["of", "erased", "raters", "2"] in [line.split() for line in out.splitlines()]
    code, out, err = call(*words, "--strict")
    assert code == 0 and "2 rows of erased raters were left out; --allow-erased takes them." in out, err
    assert "3 rows: 0 likes, 0 dislikes, 1 duplicate, " in out and "2 of erased raters" in out
    with Store.open(likes) as store:
        assert [label.rater for label in store.labels()] == ["bob"]
    code, out, _ = call("likes", "erase", "ann", "--likes", likes, "--yes")
    assert code == 0 and "0 votes of ann were deleted." in out
    for again in (("--allow-erased",), ()):  # who is back is a rater like any other
        assert call(*words, *again)[0] == 0
        with Store.open(likes) as store:
            assert {label.rater for label in store.labels()} == {"ann", "bob"}


def test_a_source_of_erased_raters_alone_is_no_error(call: Call, rated: Path, tmp_path: Path) -> None:
    words = ("import", rated, *MAPPED, "--likes", tmp_path / "likes")
    assert call(*words)[0] == 0
    for rater in ("ann", "bob"):
        assert call("likes", "erase", rater, "--likes", tmp_path / "likes", "--yes")[0] == 0
    code, out, _ = call(*words)
    assert code == 0 and "3 rows of erased raters were left out" in out


def test_erasing_without_a_terminal_names_the_option(
    call: Call, rated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    assert call("import", rated, *MAPPED, "--likes", tmp_path / "likes")[0] == 0
    code, _, err = call("likes", "erase", "ann", "--likes", tmp_path / "likes")
    assert code == 2 and "add --yes" in err
    with Store.open(tmp_path / "likes") as store:
        assert store.counts().votes == 3
