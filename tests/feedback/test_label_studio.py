"""Exports of Label Studio. The rows of JSON-MIN and CSV are as its own converter (2.1) makes them of the JSON here."""

import base64
import csv
import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin
from refusals import refused

from thumbtune.errors import UsageError
from thumbtune.feedback.source import Reading, SourceRow
from thumbtune.feedback.sources.contrib.label_studio import LabelStudio, recognises

Paint = Callable[..., bytes]
Json = dict[str, Any]

FOX, HARE = "/data/upload/12/3f2a1b4c-fox.png", "/data/upload/12/aaaa1b4c-hare.png"
WHEN = "2026-03-09T22:16:08.728353Z"
SKIPPED = "its annotator skipped it; annotate it in Label Studio, or remove it"


def result(kind: str, value: Json, name: str = "opinion", about: str = "img") -> Json:
    return {"id": "Dx_aB91ISN", "from_name": name, "to_name": about, "type": kind, "value": value, "origin": "manual"}


def choice(*words: str, **names: str) -> Json:
    return result("choices", {"choices": list(words)}, **names)


def rating(stars: object, **names: str) -> Json:
    return result("rating", {"rating": stars}, **names)


def annotation(*results: Json, number: int = 11, by: object = 1, **more: object) -> Json:
    return {
        "id": number,
        "completed_by": by,
        "result": list(results),
        "was_cancelled": False,
        "ground_truth": False,
        "created_at": "2026-03-09T21:00:00.000000Z",
        "updated_at": WHEN,
        "lead_time": 4.288,
        "unique_id": "f7a7b1f5-9f0f-4b9e-8a56-0f5f5d1f1a11",
        **more,
    }


def task(*annotations: Json, number: int = 1, **data: object) -> Json:
    return {
        "id": number,
        "annotations": list(annotations),
        "file_upload": "3f2a1b4c-fox.png",
        "drafts": [],
        "predictions": [{"result": [choice("Dislike")]}],
        "data": {"image": FOX, "prompt": "a fox", **data},
        "meta": {},
        "project": 12,
        "inner_id": number,
        "total_annotations": len(annotations),
        "cancelled_annotations": 0,
    }


@pytest.fixture
def uploads(tmp_path: Path, paint: Paint) -> Path:
    """Label Studio's media folder."""
    for number, name in enumerate((FOX, HARE)):
        file = tmp_path / "media" / "upload" / name.removeprefix("/data/upload/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(paint(number))
    return tmp_path


def export(folder: Path, *tasks: Any) -> Path:
    file = folder / "project-12.json"
    file.write_text(json.dumps(tasks), encoding="utf-8")
    return file


def found_in(file: Path, **reading: object) -> list[SourceRow]:
    return list(LabelStudio(file, Reading(**reading)))  # type: ignore[arg-type]


def said(*tasks: Json, folder: Path, **reading: object) -> list[tuple[bool | None, str | None]]:
    return [(each.liked, each.problem) for each in found_in(export(folder, *tasks), **reading)]


# --- single images


def test_a_choice_of_each_of_two_people(uploads: Path, paint: Paint) -> None:
    ann = {"id": 2, "email": "ann@example.com", "first_name": "Ann", "last_name": ""}
    file = export(uploads, task(annotation(choice("Like")), annotation(choice("Dislike"), number=12, by=ann), seed=7))
    assert recognises(file)
    one, other = found_in(file)
    assert (one.where, one.liked, one.prompt, one.seed) == (
        "project-12.json, row 1, annotation 11",
        True,
        "a fox",
        7,
    )
    assert (one.rater, one.source, one.problem) == ("Label Studio user 1", "project-12.json", None)
    assert one.created_at == datetime(2026, 3, 9, 22, 16, 8, 728353, UTC)
    assert (other.where[-13:], other.liked, other.rater) == ("annotation 12", False, "ann@example.com")
    assert one.image is not None and one.image() == paint(0)


@pytest.mark.parametrize(
    ("word", "liked"), [("Like", True), ("thumbs up", True), ("good", True), ("Dislike", False), ("no", False)]
)
def test_words(uploads: Path, word: str, liked: bool) -> None:
    assert said(task(annotation(choice(word))), folder=uploads) == [(liked, None)]


def test_ratings(uploads: Path) -> None:
    tasks = [task(annotation(rating(stars))) for stars in (5, 4, 3, 1)]
    tasks += [
        task(annotation(choice("4/5"))),
        task(annotation(choice("2"))),
        task(annotation(result("number", {"number": 9}))),
    ]
    assert [liked for liked, _ in said(*tasks, folder=uploads, like_at=4)] == [
        True,
        True,
        False,
        False,
        True,
        False,
        True,
    ]
    without = said(*tasks, folder=uploads)
    assert [liked for liked, _ in without] == [None] * 7
    assert without[0][1] == (
        "its opinion 5 is a rating, not a label; give the lowest rating that is a like, as in --like-at 7"
    )


def test_answers_that_say_neither(uploads: Path) -> None:
    box = result("rectanglelabels", {"x": 1, "y": 2, "width": 3, "height": 4, "rectanglelabels": ["Like"]})
    written = result("textarea", {"text": ["like"]})
    assert said(
        task(annotation(choice("Maybe"))), task(annotation(box, written)), task(annotation()), folder=uploads
    ) == [
        (None, "its opinion 'Maybe' is neither like nor dislike; give its meaning, as in --map-label 'Maybe=like'"),
        (None, "its annotation is neither a like nor a dislike; annotate it again or remove it"),
        (None, "its annotation is neither a like nor a dislike; annotate it again or remove it"),
    ]


def test_several_controls(uploads: Path) -> None:
    flaws = choice("Hands", "Text", name="flaws")
    sharp = choice("Bad", name="sharpness")
    assert said(task(annotation(choice("Like"), flaws)), folder=uploads) == [(True, None)]
    assert said(task(annotation(choice("Like"), choice("Good", name="colours"))), folder=uploads) == [(True, None)]
    both = task(annotation(choice("Like"), sharp, rating(2, name="stars")))
    assert said(both, folder=uploads) == [
        (
            None,
            "it is a like by opinion and a dislike by sharpness; name the one that counts, as in --map label=opinion",
        )
    ]
    for label, liked in (("Opinion", True), ("sharpness", False)):
        assert said(both, folder=uploads, columns={"label": label}) == [(liked, None)]
    assert said(both, folder=uploads, columns={"label": "stars.0.rating"}, like_at=2) == [(True, None)]


def test_what_was_skipped_is_named(uploads: Path) -> None:
    skipped = annotation(choice("Like"), was_cancelled=True)
    assert said(task(skipped), folder=uploads, label=True) == [(None, SKIPPED)]
    assert said(task(skipped, image="lost.png"), folder=uploads) == [(None, SKIPPED)]


def test_tasks_that_nobody_annotated(uploads: Path) -> None:
    assert [liked for liked, _ in said(task(), task(annotation()), folder=uploads)] == [None, None]
    assert said(task(), task(annotation()), folder=uploads, label=False) == [(False, None), (False, None)]


def test_one_task_with_two_images_judged_each(uploads: Path, paint: Paint) -> None:
    answers = annotation(choice("Like", name="a", about="image1"), choice("Dislike", name="b", about="image2"))
    data = {"image": None, "image1": FOX, "image2": HARE}
    one, other = found_in(export(uploads, task(answers, **data)))
    assert one.image is not None and (one.image(), one.liked) == (paint(0), True)
    assert other.image is not None and (other.image(), other.liked) == (paint(1), False)
    unclear = task(annotation(choice("Like")), **data)
    assert said(unclear, folder=uploads) == [
        (
            True,
            "it shows image1, image2, and it is unclear which of them was labelled; name that one, as in "
            "--map image=image1",
        )
    ]
    (mapped,) = found_in(export(uploads, unclear), columns={"image": "image2"})
    assert mapped.image is not None and mapped.image() == paint(1)


def test_an_image_by_any_name(uploads: Path, paint: Paint) -> None:
    (found,) = found_in(export(uploads, task(annotation(choice("Like")), image=None, generated=HARE)))
    assert found.image is not None and found.image() == paint(1)


def test_completions_of_old(uploads: Path) -> None:
    old = task()
    old["completions"] = [annotation(choice("Like"))]
    del old["annotations"]
    file = export(uploads, old)
    assert recognises(file) and [each.liked for each in found_in(file)] == [True]


def test_prompts_from_the_image(uploads: Path) -> None:
    info = PngImagePlugin.PngInfo()
    info.add_text("parameters", "a fox, ink\nSteps: 20, Seed: 7, Model: dream")
    Image.new("RGB", (8, 8)).save(uploads / "media" / "upload" / "12" / "3f2a1b4c-fox.png", pnginfo=info)
    (found,) = found_in(export(uploads, task(annotation(choice("Like")), prompt=None)))
    assert (found.prompt, found.seed, found.model) == ("a fox, ink", 7, "dream")


# --- where the images are


@pytest.mark.parametrize(
    "place", ["media/upload/12/{}", "upload/12/{}", "12/{}", "{}", "images/{}", "pictures/12/{}", "pictures/fox é.png"]
)
@pytest.mark.parametrize("address", ["{}", "http://localhost:8080{}", "https://labels.example.com/studio{}?x=1"])
def test_uploads(tmp_path: Path, paint: Paint, place: str, address: str) -> None:
    file = tmp_path / place.format("3f2a1b4c-fox é.png")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(paint(5))
    url = address.format("/data/upload/12/3f2a1b4c-fox%20%C3%A9.png")
    root = tmp_path / "pictures" if place.startswith("pictures") else None
    (found,) = found_in(export(tmp_path, task(annotation(choice("Like")), image=url)), root=root)
    assert found.problem is None and found.image is not None and found.image() == paint(5)


def test_two_uploads_that_were_called_the_same(tmp_path: Path, paint: Paint) -> None:
    (tmp_path / "fox.png").write_bytes(paint(5))
    likes = annotation(choice("Like"))
    other = FOX.replace("3f2a1b4c", "11112222")
    (lost, *_) = said(task(likes), task(likes, image=other), folder=tmp_path)
    assert lost == (
        True,
        "the file '12/3f2a1b4c-fox.png' does not exist; copy Label Studio's media folder there, or give the folder "
        "that contains it, as in --root media",
    )
    assert said(task(likes), task(likes), folder=tmp_path) == [(True, None)] * 2


def test_files_on_its_disk(tmp_path: Path, paint: Paint) -> None:
    (tmp_path / "disk" / "my foxes").mkdir(parents=True)
    (tmp_path / "disk" / "my foxes" / "fox.png").write_bytes(paint(5))
    for url in (
        "/data/local-files/?d=my%20foxes/fox.png",
        "http://localhost:8080/data/local-files?d=/my+foxes/fox.png",
    ):
        (found,) = found_in(export(tmp_path, task(annotation(choice("Like")), image=url)), root=tmp_path / "disk")
        assert found.problem is None and found.image is not None and found.image() == paint(5)
    (found,) = found_in(export(tmp_path, task(annotation(choice("Like")), image=url)))
    assert str(found.problem).startswith("the file 'my foxes/fox.png' does not exist; copy")


def test_an_image_beside_the_export_or_in_it(tmp_path: Path, paint: Paint) -> None:
    (tmp_path / "a.png").write_bytes(paint(5))
    for cell in ("a.png", "data:image/png;base64," + base64.b64encode(paint(5)).decode()):
        (found,) = found_in(export(tmp_path, task(annotation(choice("Like")), image=cell)))
        assert found.image is not None and found.image() == paint(5)


@pytest.mark.parametrize(
    "url",
    [
        "/data/upload/../../../etc/passwd",
        "/data/upload/%2e%2e/%2e%2e/secret.png",
        "/data/local-files/?d=../../secret.png",
        "/data/local-files/?d=../secret.png",
        "/etc/passwd",
        "/data/upload/12/link.png",
        "/data/upload/12/a%00b.png",
        "http://[/data/upload/a.png",
        "/data/local-files/?d=",
        "s3://bucket/a.png",
        {"a": 1},
        7,
        "",
        None,
    ],
)
def test_images_that_may_not_be_read(tmp_path: Path, paint: Paint, url: object) -> None:
    (tmp_path / "secret.png").write_bytes(paint(5))
    folder = tmp_path / "export"
    (folder / "12").mkdir(parents=True)
    (folder / "12" / "link.png").symlink_to(tmp_path / "secret.png")
    (found,) = found_in(export(folder, task(annotation(choice("Like")), image=url)))
    assert found.image is None and found.problem


def test_the_web_is_asked_only_where_that_is_allowed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr("thumbtune.feedback.reading.downloads.download", lambda url: asked.append(url) or b"x")
    likes = annotation(choice("Like"))
    tasks = [task(likes, image="https://example.com/fox.png", prompt=None), task(likes, image=f"http://localhost{FOX}")]
    assert "is a URL" in str(said(*tasks, folder=tmp_path)[0][1])
    web, upload = found_in(tmp_path / "project-12.json", allow_download=True)
    assert web.image is not None and asked == []
    assert web.image() == b"x" and asked == ["https://example.com/fox.png"]
    assert upload.image is None and "the file '12/3f2a1b4c-fox.png' does not exist" in str(upload.problem)


# --- comparisons


def compared(selected: object, number: int = 1, by: object = 1, about: str = "image1,image2", **data: object) -> Json:
    answer = result("pairwise", {"selected": selected}, name="pw", about=about)
    return task(annotation(answer, by=by), number=number, **{"image": None, "image1": FOX, "image2": HARE, **data})


def test_the_better_of_two(uploads: Path, paint: Paint) -> None:
    file = export(uploads, compared("right"))
    left, right = found_in(file)
    assert left.image is not None and (left.image(), left.liked, left.prompt) == (paint(0), False, "a fox")
    assert right.image is not None and (right.image(), right.liked, right.rater) == (
        paint(1),
        True,
        "Label Studio user 1",
    )
    assert left.pair is not None and left.pair == right.pair
    assert left.where == "project-12.json, row 1, annotation 11, left"
    assert LabelStudio(file).counts().comparisons == 1


def test_several_comparisons_of_an_image_add_up(uploads: Path) -> None:
    tasks = [compared("left"), compared("right", by=2)]
    assert [liked for liked, _ in said(*tasks, folder=uploads)] == [True, True]
    assert [liked for liked, _ in said(*tasks, folder=uploads, policy="w_il")] == [False, False]


@pytest.mark.parametrize(
    ("about", "names"),
    [
        ("image1,image2", ("image1", "image2")),
        ("pic-1,pic-2", ("image_a", "image_b")),
        ("", ("left", "right")),
        ("", ("img_left", "img_right")),
        ("zebra,ant", ("zebra", "ant")),
    ],
)
def test_which_is_left(uploads: Path, about: str, names: tuple[str, str]) -> None:
    """A database may turn the cells of a task around, so their order says nothing."""
    data = {names[1]: HARE, names[0]: FOX}
    one = task(annotation(result("pairwise", {"selected": "left"}, about=about)), image=None, **data)
    left, right = found_in(export(uploads, one))
    assert (left.where[-4:], left.liked, right.liked) == ("left", True, False)
    assert left.image is not None and left.image() == (uploads / "media" / "upload" / FOX[13:]).read_bytes()


@pytest.mark.parametrize(
    "data", [{"winner": FOX, "loser": HARE}, {"image1": FOX}, {"image1": FOX, "image2": HARE, "image3": FOX}]
)
def test_nobody_can_tell_which_is_left(uploads: Path, data: Json) -> None:
    one = task(annotation(result("pairwise", {"selected": "left"}, about="a,b")), image=None, **data)
    ((liked, problem),) = said(one, folder=uploads)
    assert liked is None and "it is unclear which is left; call them left and right" in str(problem)


def test_no_side_is_better(uploads: Path) -> None:
    ((_, problem),) = said(compared("none"), folder=uploads)
    assert problem == "it contains no choice of left or right; annotate it again or remove it"
    skipped = compared("left")
    skipped["annotations"][0]["was_cancelled"] = True
    assert [problem for _, problem in said(skipped, folder=uploads)] == [SKIPPED]


def test_comparisons_beside_thumbs(uploads: Path) -> None:
    tasks = [compared("left"), task(annotation(choice("Dislike")), prompt="other")]
    assert [liked for liked, _ in said(*tasks, folder=uploads)] == [False, True, False]


# --- JSON-MIN and CSV

ROWS: list[Json] = [
    {
        "image": FOX,
        "prompt": "a fox",
        "id": 1,
        "opinion": "Dislike",
        "flaws": {"choices": ["Hands", "Text"]},
        "annotator": "ann@example.com",
        "annotation_id": 12,
        "created_at": WHEN,
        "updated_at": WHEN,
        "lead_time": 2.0,
    },
    {
        "image": HARE,
        "prompt": "a hare",
        "id": 1,
        "opinion": "Like",
        "stars": [{"rating": 4}],
        "annotator": 1,
        "annotation_id": 11,
        "created_at": WHEN,
        "updated_at": WHEN,
        "lead_time": 4.288,
    },
]


def as_csv(folder: Path, rows: list[Json]) -> Path:
    file = folder / "project-12.csv"
    names = sorted({name for row in rows for name in row})
    with file.open("w", encoding="utf-8", newline="") as out:
        writer = csv.DictWriter(out, names, quoting=csv.QUOTE_NONNUMERIC)
        writer.writeheader()
        for row in rows:
            writer.writerow(
                {key: json.dumps(cell) if isinstance(cell, dict | list) else cell for key, cell in row.items()}
            )
    return file


@pytest.mark.parametrize("left_out", [{"lead_time"}, {"annotator"}, {"annotator", "lead_time"}])
def test_rows_of_versions_that_leave_columns_out(uploads: Path, left_out: set[str]) -> None:
    file = export(uploads, *({key: cell for key, cell in row.items() if key not in left_out} for row in ROWS))
    assert recognises(file)
    assert [found.liked for found in LabelStudio(file, Reading(columns={"label": "opinion"}))] == [False, True]


def test_an_annotation_id_alone_makes_no_export(uploads: Path) -> None:
    assert not recognises(export(uploads, {"image": FOX, "prompt": "a fox", "annotation_id": 3}))


@pytest.mark.parametrize("write", [lambda folder: export(folder, *ROWS), lambda folder: as_csv(folder, ROWS)])
def test_a_row_for_each_annotation(uploads: Path, paint: Paint, write: Callable[[Path], Path]) -> None:
    file = write(uploads)
    assert recognises(file)
    one, other = found_in(file, columns={"label": "opinion"})
    assert (one.liked, one.prompt, one.rater) == (False, "a fox", "ann@example.com")
    assert (other.liked, other.prompt, other.rater) == (True, "a hare", "Label Studio user 1")
    assert other.image is not None and other.image() == paint(1) and other.created_at is not None
    ratings = found_in(file, columns={"label": "stars"}, like_at=4)
    assert [each.liked for each in ratings] == [None, True]
    unsaid = found_in(file, like_at=4)
    assert [each.liked for each in unsaid] == [None, True]
    assert "its flaws 'Hands' is neither" in str(unsaid[0].problem)


def test_a_column_called_choice_needs_no_word(uploads: Path) -> None:
    row = {key: cell for key, cell in ROWS[0].items() if key not in ("opinion", "flaws")}
    assert said({**row, "choice": "Like"}, {**row, "nsfw": "no"}, folder=uploads) == [
        (True, None),
        (
            None,
            "none of its columns (image, prompt, id, annotator, annotation_id, created_at, updated_at, lead_time, "
            "nsfw) contains likes and dislikes; name the column of labels, as in --map label=opinion",
        ),
    ]


def test_comparisons_in_rows(uploads: Path) -> None:
    row = {**ROWS[0], "image": None, "image1": FOX, "image2": HARE, "pw": [{"selected": "right"}]}
    for file in (export(uploads, row), as_csv(uploads, [row])):
        assert [(each.where[-5:], each.liked) for each in found_in(file)] == [(" left", False), ("right", True)]


# --- whatever comes


def test_what_is_no_export(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("[" * 100_000)
    (tmp_path / "b.json").write_text(json.dumps([{"image": "a.png", "label": True}]))
    (tmp_path / "c.json").write_text(json.dumps([{"data": {"image": "a.png"}}]))
    for name in ("a.json", "b.json", "c.json", "none.json", "", "a\0b"):
        assert not recognises(tmp_path / name)


def test_settings_that_cannot_be_meant(tmp_path: Path) -> None:
    with refused("root-missing", UsageError, naming=tmp_path / "none"):
        LabelStudio(export(tmp_path), Reading(root=tmp_path / "none"))
    with refused("map-unknown-name", UsageError, naming="'x'"):
        LabelStudio(export(tmp_path), Reading(columns={"x": "y"}))


def test_a_limit_is_one_of_tasks(uploads: Path) -> None:
    tasks = [task(annotation(choice("Like")), annotation(choice("Like"))) for _ in range(3)]
    assert len(found_in(export(uploads, *tasks), limit=2)) == 4
    assert len(found_in(export(uploads, *[compared("left", prompt=f"{n}") for n in range(3)]), limit=2)) == 4


def test_rows_that_are_no_tasks(uploads: Path) -> None:
    good = task(annotation(choice("Like")))
    assert [liked for liked, _ in said(good, "x", {"data": "x", "annotations": []}, 7, good, folder=uploads)] == [  # type: ignore[arg-type]
        True,
        None,
        None,
        None,
        True,
    ]


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from([FOX, "left", "like"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(value=json_values)
def test_any_cell_makes_a_row_or_a_sentence(uploads: Path, value: object) -> None:
    of_an_answer = result("choices", {"choices": value, "rating": value, "selected": value})
    rows: list[Any] = [
        value,
        {"data": value, "annotations": value},
        {"data": {"image": value, "prompt": value, "seed": value}, "annotations": [value, annotation(choice("Like"))]},
        task(annotation(of_an_answer), annotation({"from_name": value, "to_name": value, "value": value}), a=value),
        task(
            {**annotation(result("pairwise", {"selected": "left"})), "completed_by": value, "id": value}, image1=value
        ),
        task({key: value for key in annotation()}),
        {**ROWS[0], "choice": value, "annotator": value, "updated_at": value, "image": value},
    ]
    file = export(uploads, *rows)
    for each in found_in(file, like_at=3, label=True):
        assert each.problem or each.image is not None


# --- answers in words of one's own


@pytest.mark.parametrize(
    ("word", "liked"),
    [("👍 Like", True), ("Like it", True), ("Accept", True), ("Good image", True), ("Keep", True), ("Approved", True),
     ("Reject", False), ("👎", False), ("Not good", False), ("Discard", False), ("No", False), ("Bad picture", False)],
)  # fmt: skip
def test_choices_in_usual_words(uploads: Path, word: str, liked: bool) -> None:
    assert said(task(annotation(choice(word))), folder=uploads) == [(liked, None)]


def test_choices_that_are_numbers_or_count_beside_their_opposite(uploads: Path) -> None:
    for like, dislike in (("1", "0"), ("+1", "-1"), ("Pass", "Fail"), ("true", "false")):
        tasks = [task(annotation(choice(word))) for word in (like, dislike)]
        assert [liked for liked, _ in said(*tasks, folder=uploads)] == [True, False]
    (_, why) = said(task(annotation(choice("3"))), folder=uploads)[0]
    assert why is not None and "is a rating, not a label" in why


def test_choices_in_words_of_ones_own(uploads: Path) -> None:
    (uploads / "t.json").write_text(json.dumps([task(annotation(choice(word))) for word in ("Yum", "Yuck", "Meh")]))
    rows = list(LabelStudio(uploads / "t.json", Reading(words={"yum": "like", "yuck": "dislike"})))
    assert [(row.liked, row.unread) for row in rows] == [(True, None), (False, None), (None, "Meh")]
    reading = Reading(words={"yum": "like", "yuck": "dislike", "meh": "skip"})
    source = LabelStudio(uploads / "t.json", reading)
    assert [row.unrated for row in source.with_unrated()] == [False, False, True]
    assert source.described() == [source.described()[0]] and "opinion as label" in source.described()[0]


def test_a_ranker_is_named(uploads: Path) -> None:
    ranks = {"id": "x", "type": "ranker", "value": {"ranker": {"_": ["1", "2"]}}, "to_name": "items", "from_name": "r"}
    (_, why) = said(task(annotation(ranks), items=[{"id": "1"}]), folder=uploads)[0]
    assert why is not None and why.startswith("it ranks a list of items (Ranker), which is not read; compare two")
