"""Sets of prompts: what each kind of file comes to, published sets from a folder of one's own, and what is refused."""

import csv
import json
import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from datasets import Dataset
from hypothesis import given, settings
from hypothesis import strategies as st
from refusals import refused

from thumbtune.errors import UsageError
from thumbtune.evaluation import prompts
from thumbtune.evaluation.prompts import PROMPT_SETS, PromptSet, load_prompt_set
from thumbtune.evaluation.scorers.published_files import Locations

REAL = Path(__file__).parents[3] / "shared" / "data" / "prompts"
BOM = "\ufeff"
CATS = ("a cat", "two dogs", "a cat")
STYLES = ("photo", "anime", "photo")
NO_PROMPT = "prompts-row-without-prompt"
Write = Callable[[str, str | bytes], str]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """(name, what) -> the path of a file that holds it, byte by byte."""

    def make(name: str, what: str | bytes) -> str:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(what if isinstance(what, bytes) else what.encode())
        return str(path)

    return make


@pytest.mark.parametrize(
    ("name", "text", "styles"),
    [
        ("a.txt", "a cat\ntwo dogs\na cat\n", None),
        ("a.txt", "  a  cat \n\n\ttwo\tdogs\n   \na cat", None),
        ("a.TXT", "a cat\r\ntwo dogs\r\na cat\r\n", None),
        ("a.json", '["a cat", "two dogs", "a cat"]', None),
        ("a.json", '[{"prompt": "a cat"}, {"caption": "two dogs"}, {"Text": "a cat"}]', None),
        (
            "a.json",
            '[{"prompt": "a cat", "style": "photo"}, {"prompt": "two dogs", "category": "anime"}, '
            '{"style": "photo", "prompt": "a cat", "seed": 3}]',
            STYLES,
        ),
        ("a.jsonl", '{"prompt": "a cat"}\r\n\r\n{"prompts": "two dogs"}\r\n{"text": "a cat"}', None),
        ("a.csv", "prompt\na cat\ntwo dogs\na cat\n", None),
        ("a.csv", 'Category,Prompt\r\nphoto,"a cat"\r\nanime,two dogs\r\nphoto,a cat\r\n', STYLES),
        ("a.csv", "n,prompt,style\n1,a cat,photo\n2,two dogs,\n3,a cat,photo\n", None),  # one has none: none have
        ("a.tsv", "Prompt\tCategory\tNote\na cat\tphoto\tx\ntwo dogs\tanime\t\na cat\tphoto\n", STYLES),
    ],
)
@pytest.mark.parametrize("mark", ["", BOM])
def test_every_kind_of_file_gives_its_prompts_in_order_and_twice_where_they_come_twice(
    write: Write, name: str, text: str, styles: tuple[str, ...] | None, mark: str
) -> None:
    found = load_prompt_set(write(name, mark + text))
    assert (found.prompts, found.styles, found.name) == (CATS, styles, name)
    assert found.source.endswith(name)


def test_the_keys_of_an_object_of_lists_are_the_styles_unless_a_row_has_its_own(write: Write) -> None:
    rows = {"anime": ["a cat", "a dog"], "photo": [{"prompt": "a fox"}, {"prompt": "an owl", "style": "night"}]}
    found = load_prompt_set(write("a.json", json.dumps(rows | {"empty": []})))
    assert found.prompts == ("a cat", "a dog", "a fox", "an owl")
    assert found.styles == ("anime", "anime", "photo", "night")


def test_a_csv_quotes_its_cells_and_a_tsv_does_not(write: Write) -> None:
    quoted = load_prompt_set(write("a.csv", 'prompt,style\n"a cat, asleep",x\n"a ""big"" dog",y\n'))
    assert quoted.prompts == ("a cat, asleep", 'a "big" dog')
    bare = load_prompt_set(write("a.tsv", 'prompt\tstyle\na sign that says "hi\tx\n"two" dogs\ty\n'))
    assert bare.prompts == ('a sign that says "hi', '"two" dogs') and bare.styles == ("x", "y")


def test_a_cell_of_several_lines_keeps_its_words_apart(write: Write) -> None:
    found = load_prompt_set(write("a.csv", 'prompt,style\r\n"a red\r\ncat",x\r\na dog,y\r\n'))
    assert found.prompts == ("a red cat", "a dog")


@pytest.mark.parametrize("separator", ["\u2028", "\x85", "\x0c"])
def test_a_line_of_jsonl_ends_where_its_line_ends(write: Write, separator: str) -> None:
    """JSON may hold U+2028 and U+0085 as they are; `\\f` it writes as an escape, as every writer does."""
    row = json.dumps({"prompt": f"a red{separator}cat"}, ensure_ascii=False)
    assert load_prompt_set(write("a.jsonl", row + '\n{"prompt": "a dog"}\n')).prompts == ("a red cat", "a dog")


words = st.text("abcäß猫 ,\"'\t|;", min_size=1, max_size=12).filter(lambda text: text.split())


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.txt", "a café\r\na dog"),
        ("a.csv", "prompt\r\na café\r\na dog"),
        ("a.tsv", "prompt\r\na café\r\na dog"),
        ("a.json", '["a café", "a dog"]'),
        ("a.jsonl", '{"prompt": "a café"}\r\n{"prompt": "a dog"}'),
    ],
)
def test_a_byte_order_mark_names_the_encoding(write: Write, name: str, text: str, encoding: str) -> None:
    assert load_prompt_set(write(name, text.encode(encoding))).prompts == ("a café", "a dog")


@pytest.mark.parametrize("separator", ["\u2028", "\u2029", "\x85", "\x0b", "\x0c", "\x1c", "\x1e"])
def test_only_the_end_of_a_line_ends_a_prompt(write: Write, separator: str) -> None:
    assert load_prompt_set(write("a.txt", f"a red{separator}cat\na dog")).prompts == ("a red cat", "a dog")


def test_lines_of_old_macs_and_files_that_were_joined(write: Write) -> None:
    assert load_prompt_set(write("a.txt", "a cat\ra dog\r")).prompts == ("a cat", "a dog")
    assert load_prompt_set(write("b.txt", f"{BOM}a cat\n{BOM}a dog\n")).prompts == ("a cat", "a dog")


def test_an_object_of_columns_is_not_one_of_styles(write: Write) -> None:
    found = [
        load_prompt_set(write("a.json", json.dumps(content)))
        for content in (
            {"prompts": ["a cat", "a dog"]},
            {"Prompt": ["a cat", "a dog"], "style": ["x", "y"]},
            {"prompt": ["a cat", "a dog"], "seed": [1, 2]},
            {"text": ["a cat", "a dog"], "photo": ["a fox", "an owl"]},
        )
    ]
    assert [one.prompts for one in found[:3]] == [("a cat", "a dog")] * 3
    assert [one.styles for one in found] == [None, ("x", "y"), None, ("text", "text", "photo", "photo")]


@given(st.lists(st.tuples(words, st.sampled_from(["x", "y, z"])), min_size=1, max_size=6))
@settings(max_examples=40, deadline=None)
def test_what_other_programs_write_is_what_is_read(tmp_path_factory: Any, rows: list[tuple[str, str]]) -> None:
    import csv

    folder = tmp_path_factory.mktemp("written")
    with (folder / "a.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("prompt", "style"), *rows])
    (folder / "a.jsonl").write_text("".join(json.dumps({"prompt": p, "style": s}) + "\n" for p, s in rows))
    (folder / "a.json").write_text(json.dumps([{"caption": p, "category": s} for p, s in rows], ensure_ascii=False))
    for name in ("a.csv", "a.jsonl", "a.json"):
        found = load_prompt_set(str(folder / name))
        assert found.prompts == tuple(" ".join(prompt.split()) for prompt, _ in rows)
        assert found.styles == tuple(style for _, style in rows)


@pytest.mark.parametrize(
    ("name", "what", "code", "naming"),
    [
        *((f"a{end}", b"", "prompts-empty", []) for end in (".txt", ".jsonl", ".csv", ".tsv")),
        ("a.json", b"", "prompts-unreadable", []),
        ("a.txt", b" \n\t\n", "prompts-empty", []),
        ("a.csv", b"prompt,style\n", "prompts-empty", []),
        ("a.csv", b"prompt,style\n  ,x\n", "prompts-empty", []),
        ("a.json", b"[]", "prompts-empty", []),
        ("a.json", b'{"anime": []}', "prompts-empty", []),
        ("a.json", b'{"prompt": "a cat"}', "prompts-no-list", []),
        ("a.json", b"7", "prompts-no-list", []),
        ("a.json", b'["a cat", 3]', NO_PROMPT, ["row 1: a cat", "`prompt`"]),
        ("a.json", b'[{"prompt": "a cat"}, {"prompt": 3}]', NO_PROMPT, ["row 2: {'prompt': 3}", "`prompt`"]),
        ("a.jsonl", b'{"prompt": null}', NO_PROMPT, ["row 1: "]),
        ("a.jsonl", b'"a cat"', NO_PROMPT, ["row 1: a cat"]),
        ("a.jsonl", b'{"prompt": "a cat"}\n{"prompt": "a d', "prompts-unreadable", []),
        ("a.json", b"[" * 100_000, "prompts-unreadable", []),
        ("a.csv", b"name,style\na cat,x\n", NO_PROMPT, ["row 1: {'name': 'a cat'", "`prompt`"]),
        ("a.csv", b"prompt;style\na cat;x\n", NO_PROMPT, ["row 1: ", "`prompt`"]),
        ("a.csv", b"style,prompt\nx,a cat\ny\n", NO_PROMPT, ["row 2: ", "`prompt`"]),
        *(
            (f"a{end}", start + b"x" * 200_000 + close, "prompts-unreadable", ["field larger"])
            for end, start, close in [(".csv", b"prompt\n", b""), (".txt", b"", b""), (".json", b'["', b'"]')]
        ),
        ("a.txt", "caf\u00e9".encode("latin-1"), "prompts-unreadable", ["UTF-8"]),
        ("a.csv", "prompt\na cat".encode("utf-16-le"), "prompts-unreadable", ["UTF-8"]),
        ("a.csv", b"\xff\xfea", "prompts-unreadable", ["UTF-8"]),
        ("a.txt", b"a cat\na\0dog\n" + b" " * 99, "prompts-unreadable", ["UTF-8"]),
        *(
            (f"a{end}", text, "prompts-zero-byte", ["'a\\x00dog'"])
            for end, text in [
                (".txt", b"a cat, as long as the beginning of a file that is looked at for a zero byte\na\0dog\n"),
                (".json", b'["a\\u0000dog"]'),
                (".jsonl", b'{"prompt": "a\\u0000dog"}'),
            ]
        ),
        ("a.yaml", b"- a cat", "prompts-suffix", [".txt, .json, .jsonl, .csv, .tsv"]),
        ("a", b"a cat", "prompts-suffix", []),
        ("a.json", b'["a cat \\ud83d"]', "prompts-half-character", ["ud83d"]),  # no file and no hash can hold it
    ],
)
def test_what_holds_no_prompts_is_one_sentence(
    write: Write, name: str, what: bytes, code: str, naming: list[str]
) -> None:
    file = write(name, what)
    with refused(code, UsageError, naming=naming) as caught:
        load_prompt_set(file)
    assert str(caught.value).startswith(file) and len(str(caught.value)) < 500


def test_the_limit_of_a_cell_is_the_same_after_another_reader_raised_the_limit_of_the_csv_module(write: Write) -> None:
    file = write("a.csv", b"prompt\n" + b"x" * 200_000)
    before = csv.field_size_limit(10_000_000)
    try:
        with refused("prompts-unreadable", UsageError, naming=["field larger"]):
            load_prompt_set(file)
    finally:
        csv.field_size_limit(before)


@pytest.mark.parametrize("name", ["nowhere.txt", "Partiprompts", "", "a cat, asleep " * 30])
def test_a_name_of_nothing_says_what_there_is(name: str) -> None:
    with refused("prompts-unknown", UsageError, naming=[name, "partiprompts, hpsv2, pickapic-v2-test"]):
        load_prompt_set(name)


def test_a_set_s_hash_changes_with_every_prompt_and_style_and_their_order() -> None:
    sets = [
        PromptSet("a", ("x", "y")),
        PromptSet("a", ("y", "x")),
        PromptSet("a", ("x", "y", "y")),
        PromptSet("a", ("xy",)),
        PromptSet("a", ("x", "y"), ("1", "2")),
        PromptSet("a", ("x", "y"), ("2", "1")),
    ]
    assert len({one.sha256 for one in sets}) == len(sets)
    assert PromptSet("b", ("x", "y"), source="elsewhere").sha256 == sets[0].sha256, "not with what it is called"


def test_the_first_so_many_keep_their_styles() -> None:
    whole = PromptSet("a", CATS, STYLES, "here")
    assert whole.first(2) == PromptSet("a", CATS[:2], STYLES[:2], "here", len(CATS)) and whole.first(9) == whole
    assert PromptSet("a", CATS).first(1) == PromptSet("a", CATS[:1], cut_from=len(CATS))
    assert whole.first(2).first(1).whole == len(CATS)


# --- published sets


def of_count(monkeypatch: pytest.MonkeyPatch, name: str, count: int) -> None:
    """The published set as if it had so few prompts."""
    monkeypatch.setitem(prompts.PROMPT_SETS, name, replace(PROMPT_SETS[name], count=count))


def test_the_files_of_hps_are_its_styles(write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    of_count(monkeypatch, "hpsv2", 5)
    for style, rows in {"anime": ["a", "b"], "concept-art": ["c"], "paintings": ["d"]}.items():
        write(f"zhwang/HPDv2/benchmark/{style}.json", json.dumps(rows))
    with refused("published-file-offline", naming="benchmark/photo.json"):
        load_prompt_set("hpsv2", Locations(tmp_path / "cache", tmp_path, offline=True))
    write("benchmark/photo.json", '["e"]')
    found = load_prompt_set("hpsv2", Locations(tmp_path / "cache", tmp_path, offline=True))
    assert found.prompts == ("a", "b", "c", "d", "e") and found.name == "hpsv2"
    assert found.styles == ("anime", "anime", "concept-art", "paintings", "photo")


@pytest.mark.parametrize("name", ["pickapic-v2-test", "drawbench"])
def test_a_set_of_the_hub_may_lie_in_a_folder_as_jsonl(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    of_count(monkeypatch, name, 2)
    locations = Locations(tmp_path / "cache", tmp_path, offline=True)
    with refused("prompts-offline", naming=[name, str(PROMPT_SETS[name].hub)]):
        load_prompt_set(name, locations)
    write(f"{name}.jsonl", '{"caption": "a cat", "category": "x"}\n{"caption": "a dog", "category": "y"}\n')
    found = load_prompt_set(name, locations)
    assert (found.prompts, found.styles, found.name) == (("a cat", "a dog"), ("x", "y"), name)


def test_of_a_data_set_only_the_words_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    of_count(monkeypatch, "drawbench", 2)
    asked = []

    def load_dataset(repo: str, split: str) -> Dataset:
        asked.append((repo, split))
        return Dataset.from_dict({"image": [b"1", b"2"], "Prompts": ["a cat", "a dog"], "Category": ["x", "y"]})

    monkeypatch.setattr("datasets.load_dataset", load_dataset)
    found = load_prompt_set("drawbench", Locations(tmp_path))
    assert (found.prompts, found.styles) == (("a cat", "a dog"), ("x", "y"))
    assert asked == [("sayakpaul/drawbench", "train")] and found.source == "sayakpaul/drawbench, split train"


@pytest.mark.parametrize("error", [ConnectionError("no route\nto host"), TimeoutError(), ValueError("")])
def test_a_hub_that_does_not_answer_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def load_dataset(repo: str, split: str) -> Dataset:
        raise error

    monkeypatch.setattr("datasets.load_dataset", load_dataset)
    with refused("prompts-missing", naming=["drawbench", "sayakpaul/drawbench"]):
        load_prompt_set("drawbench", Locations(tmp_path))


@pytest.mark.parametrize(
    ("name", "file"), [("partiprompts", "PartiPrompts.tsv"), ("geneval", "generation_prompts.txt")]
)
def test_a_published_file_that_is_not_here_is_one_sentence_offline(tmp_path: Path, name: str, file: str) -> None:
    with refused("published-file-offline", naming=[file, "--weights"]):
        load_prompt_set(name, Locations(tmp_path, offline=True))


def test_another_file_under_a_published_name_is_refused_by_its_hash(write: Write, tmp_path: Path) -> None:
    write("PartiPrompts.tsv", "Prompt\tCategory\na cat\tAnimals\n")
    with refused("published-file-hash-mismatch", naming=["PartiPrompts.tsv", "fab29e41bb51"]):
        load_prompt_set("partiprompts", Locations(tmp_path / "cache", tmp_path, offline=True))


def test_a_published_set_of_another_count_is_refused(write: Write, tmp_path: Path) -> None:
    """GenEval's publisher says no hash: a file that was cut off must show by its number of prompts."""
    write("generation_prompts.txt", "a photo of a bench\na photo of a cow\n")
    with refused("prompts-wrong-count", naming=[" 2 ", " 553 "]):
        load_prompt_set("geneval", Locations(tmp_path / "cache", tmp_path, offline=True))


def real(name: str) -> Path:
    """A published file on this machine; the test that asks is skipped where it is not."""
    if not (REAL / name).is_file():
        pytest.skip(f"{REAL / name} is not here: this test reads the published prompts themselves.")
    return REAL / name


def test_partiprompts_has_1632_prompts_in_12_categories() -> None:
    lines = real("PartiPrompts.tsv").read_text(encoding="utf-8").split("\n")[1:-1]
    found = load_prompt_set("partiprompts", Locations(local=REAL, offline=True))
    assert len(found.prompts) == len(lines) == PROMPT_SETS["partiprompts"].count
    assert list(found.prompts) == [" ".join(line.split("\t")[0].split()) for line in lines]
    counts = Counter(found.styles)
    assert len(counts) == 12 and counts["Animals"] == 314 and counts["Food & Beverage"] == 74
    assert sum('"' in prompt for prompt in found.prompts) > 10, "quotation marks are part of the prompts"
    assert load_prompt_set(str(REAL / "PartiPrompts.tsv")).sha256 == found.sha256


def test_geneval_has_553_prompts(tmp_path: Path) -> None:
    file = real("geneval_553.txt")
    shutil.copyfile(file, tmp_path / "generation_prompts.txt")
    found = load_prompt_set("geneval", Locations(tmp_path / "cache", tmp_path, offline=True))
    assert list(found.prompts) == file.read_text(encoding="utf-8").split("\n")[:-1]
    assert len(found.prompts) == PROMPT_SETS["geneval"].count and found.styles is None
    assert found.prompts[0] == "a photo of a bench" and load_prompt_set(str(file)).sha256 == found.sha256
