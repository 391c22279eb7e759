"""What the bundled model does not know is named, once and with its number of prompts."""

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from base_model.vocabulary import CONCEPTS, GROUPS, LOOKS, SYNONYMS, as_bundled, caption
from thumbtune.feedback.metadata.generated import Generated, parameters_text
from thumbtune.files import write_png
from thumbtune.models.prompt_chunks import PromptEncoding
from thumbtune.runs import build
from thumbtune.runs.bundled_words import MODEL, VOCABULARY, is_of_bundled, unknown_note, vocabulary
from thumbtune.runs.prompt_notes import prompt_notes
from thumbtune.runs.recipe import Recipe


def test_the_vocabulary_is_that_of_the_captions() -> None:
    assert json.loads(VOCABULARY.read_text()) == as_bundled()
    assert Recipe().model == MODEL and build.is_bundled(MODEL)


class LastChoice:
    """A random.Random that takes every synonym, group and style of a caption."""

    def random(self) -> float:
        return 0.0

    def choice(self, names: Any) -> Any:
        return names[-1]


def test_every_word_of_a_caption_is_known() -> None:
    import random

    known = vocabulary()
    for look in LOOKS:
        for concept in CONCEPTS:
            for style in known.styles:
                for rng in (LastChoice(), random.Random(3)):
                    assert known.unknown(caption(concept, style, look, rng)) == []  # type: ignore[arg-type]
    assert all(known.unknown(word) == [] for words in SYNONYMS.values() for word in words)
    assert all(known.unknown(word) == [] for word in GROUPS)


@pytest.mark.parametrize(
    ("prompt", "unknown"),
    [
        ("a bird", ["bird"]),
        ("a book and a Flower, on the table", ["book", "flower", "table"]),
        ("red apples", ["apples"]),
        ("a face", ["face"]),  # known in "cat face" alone
        ("A Cat Face, soft 3D, on PINK", []),
        ("(red apple:1.3), 4k 12", ["4k"]),
        ("", []),
    ],
)
def test_unknown_words(prompt: str, unknown: list[str]) -> None:
    assert vocabulary().unknown(prompt) == unknown


def test_the_note_counts_prompts_and_names_words_once() -> None:
    assert unknown_note(["a cat", "a dog, flat", ""]) is None
    assert unknown_note(["a bird", "a bird", "a cat", "a bird on a book"]) == (
        "Of 3 prompts, 2 have words that tiny-emoji-64 does not know (bird and book), and it generates something else "
        "for them; `thumbtune concepts` lists what it knows."
    )
    many = unknown_note([" ".join(f"bird{letter * 3}" for letter in "abcdefghij")])
    assert many is not None and many.startswith("Of 1 prompt, 1 has words") and "birdhhh and 2 more)" in many


def test_only_the_bundled_model_is_asked(tiny_pipeline: Any) -> None:
    bundled = build.model_path(MODEL)
    note, *_ = prompt_notes(["a bird", "a cat"], PromptEncoding(), bundled)
    assert note.startswith("Of 2 prompts, 1 has words")
    assert not [
        note for note in prompt_notes(["a bird"], PromptEncoding(), str(tiny_pipeline("epsilon"))) if "know" in note
    ]
    assert [is_of_bundled(name) for name in (MODEL, f"{MODEL}+mine", "sd15", f"{MODEL}2", None)] == [
        *(True, True, False, False, False)
    ]


def test_import_names_unknown_words_of_images_that_the_bundled_model_made(call: Any, tmp_path: Path) -> None:
    for number, (prompt, model) in enumerate([("a bird", MODEL), ("a book", "sd15"), ("a cat", MODEL)]):
        made = Generated(prompt=prompt, seed=1, steps=2, guidance=3, sampler="DDIM", width=8, height=8, model=model)
        image = Image.new("RGB", (8, 8), (number, 0, 0))
        write_png(tmp_path / "i" / "liked" / f"{number}.png", image, texts={"parameters": parameters_text(made, "1")})
    code, _, err = call("import", tmp_path / "i", "--likes", tmp_path / "likes")
    assert code == 0 and err.count("words that tiny-emoji-64 does not know (bird)") == 1 and "book" not in err


def test_concepts_are_listed(call: Any) -> None:
    code, out, _ = call("concepts")
    assert code == 0 and out.startswith("tiny-emoji-64 knows 48 things")
    listed = " ".join(out.split())
    assert all(name in listed for name in (*CONCEPTS, "red apple (apple)", "line art", "on blue", "animal"))
    assert max(map(len, out.splitlines())) <= 100
