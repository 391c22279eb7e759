"""Prompts in chunks and with weights, beside a slow reference that is written here by hand, character by character.

The tokenizer is CLIP's own; the text encoders are real classes of random weights, 16 numbers wide.
"""

import math
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from thumbtune.models.clip_tokens import clip_tokenizer
from thumbtune.models.prompt_chunks import Chunk, PromptEncoding, chunks_of
from thumbtune.models.prompt_encoding import embed_prompt, layer_of, of_equal_length, together, weighed
from thumbtune.models.prompt_syntax import marks_in, sections_of

CUT, CHUNKS = PromptEncoding(), PromptEncoding(over_length="chunks")
A1111 = PromptEncoding(over_length="chunks", syntax="a1111")
WORD = "cat "  # one token
LONG = WORD * 80


@pytest.fixture(scope="module")
def tokenizers() -> dict[str, Any]:
    return {"SD 1.x": clip_tokenizer(), "SD 2.x": clip_tokenizer(pad="!")}


@pytest.fixture(scope="module")
def encoder() -> Any:
    from transformers import CLIPTextConfig, CLIPTextModel

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        config = CLIPTextConfig(
            vocab_size=49_408,
            hidden_size=16,
            intermediate_size=32,
            num_hidden_layers=3,
            num_attention_heads=2,
            bos_token_id=49_406,
            eos_token_id=49_407,
            pad_token_id=49_407,
        )
        model = CLIPTextModel(config).eval()
        with torch.no_grad():  # as trained: the states have a mean
            model.final_layer_norm.weight.add_(torch.randn(16) / 4)
            model.final_layer_norm.bias.add_(torch.randn(16) / 2)
        return model


@pytest.fixture
def embed(tokenizers: dict[str, Any], encoder: Any) -> Callable[..., Tensor]:
    """(prompt, encoding, family) -> the text states of a prompt."""

    def make(prompt: str, encoding: PromptEncoding = A1111, family: str = "SD 1.x") -> Tensor:
        with torch.no_grad():
            parts = [(tokenizers[family], lambda tokens: (layer_of(encoder, tokens, encoding.clip_skip), None))]
            return embed_prompt(prompt, parts, encoding, torch.device("cpu"))["text"]

    return make


# --- the reference: weights of single characters, then one list of tokens, then chunks by looking back


def reference_pieces(prompt: str) -> list[tuple[str, float] | None]:
    """Texts with weights, and None for BREAK: each letter has the product of the brackets around it, all balanced."""
    letters, spans = read_letters(iter(re.sub(r"<\w+:[^>]+>", "", prompt)))
    runs: list[tuple[str, float]] = []
    for place, letter in enumerate(letters):
        weight = math.prod(factor for start, end, factor in spans if start <= place < end)
        if runs and abs(runs[-1][1] - weight) < 1e-9:
            runs[-1] = (runs[-1][0] + letter, weight)
        else:
            runs.append((letter, weight))
    pieces: list[tuple[str, float] | None] = []
    for text, weight in runs:
        for number, part in enumerate(re.split(r"\s*\bBREAK\b\s*", text)):
            pieces += [None] * (number > 0) + ([(part, weight)] if part else [])
    return pieces


def read_letters(prompt: Iterator[str]) -> tuple[list[str], list[tuple[int, int, float]]]:
    """The letters without brackets and weights, and (first, end, factor) of each pair of brackets."""
    opened: list[int] = []
    letters: list[str] = []
    spans = []
    for letter in prompt:
        if letter in "([":
            opened.append(len(letters))
        elif letter in ")]":
            start, factor = opened.pop(), 1.1 if letter == ")" else 1 / 1.1
            if letter == ")" and (own := re.search(r":([\d.]+)$", "".join(letters[start:]))):
                del letters[start + own.start() :]
                factor = float(own[1])
            spans.append((start, len(letters), factor))
        else:
            letters.append(next(prompt) if letter == "\\" else letter)
    return letters, spans


def reference(prompt: str, tokenizer: Any, encoder: Any) -> Tensor:
    """The states as A1111 computes them, chunk by chunk."""
    comma = tokenizer.encode(",", add_special_tokens=False)[0]
    chunks: list[list[tuple[int, float]]] = [[]]
    for piece in reference_pieces(prompt):
        if piece is None:
            chunks.append([])
            continue
        for token in tokenizer.encode(piece[0], add_special_tokens=False):
            if len(chunks[-1]) == 75:
                late = [place for place, (one, _) in enumerate(chunks[-1]) if one == comma]
                if late and late[-1] >= 55 and token != comma:
                    chunks[-1], moved = chunks[-1][: late[-1] + 1], chunks[-1][late[-1] + 1 :]
                    chunks.append(moved)
                else:
                    chunks.append([])
            chunks[-1].append((token, piece[1]))
    if len(chunks) > 1 and not chunks[-1]:
        chunks.pop()
    states = []
    for chunk in chunks:
        ids = [49_406, *[token for token, _ in chunk], 49_407]
        ids += [tokenizer.pad_token_id] * (77 - len(ids))
        weights = [1.0, *[weight for _, weight in chunk]] + [1.0] * (76 - len(chunk))
        with torch.no_grad():
            z = encoder(torch.tensor([ids])).last_hidden_state[0]
        mean = z.mean()
        z = torch.stack([state * weight for state, weight in zip(z, weights, strict=True)])
        states.append(z * (mean / z.mean()))
    return torch.cat(states)


PROMPTS = [
    "",
    "a cat",
    "a (red:1.3) apple, [worn] and ((old))",
    r"hatsune miku \(vocaloid\), (blue \(light\):1.2)",
    "a sky BREAK snow",
    "BREAK a sky",
    "a sky BREAK BREAK snow BREAK",
    "a (sky BREAK snow:1.4) in [winter]",
    "(a:0.5) ((b) c:1.5) [d (e:2.0)]",
    "a <lora:ink:0.8> cat, <lyco:x:1:2> <hypernet:y> dog",
    LONG,
    f"{WORD * 74}, dog",  # the comma is the last token of the first chunk
    f"{WORD * 75}, dog",  # the comma begins the second chunk
    f"{WORD * 60}, {'dog ' * 30}",  # what follows the comma moves
    f"{WORD * 54}, {'dog ' * 30}",  # 20 tokens after the comma: still moves
    f"{WORD * 53}, {'dog ' * 30}",  # the comma is too far away
    f"{WORD * 60}, (red {'dog ' * 30}:1.3), {'owl ' * 90}",
    f"{WORD * 75} BREAK {'owl ' * 75}",
    f"({LONG * 2}:1.2)",
    "naïve 猫 <b> 10:30 (16:9) ...",
]


@pytest.mark.parametrize("family", ["SD 1.x", "SD 2.x"])
@pytest.mark.parametrize("prompt", PROMPTS)
def test_the_states_are_those_of_the_reference(
    prompt: str, family: str, embed: Callable[..., Tensor], tokenizers: dict[str, Any], encoder: Any
) -> None:
    wanted = reference(prompt, tokenizers[family], encoder)
    torch.testing.assert_close(embed(prompt, A1111, family), wanted, rtol=0, atol=2e-5)


def test_the_pads_of_the_families_differ_and_the_chunks_have_77_tokens(tokenizers: dict[str, Any]) -> None:
    pads = {"SD 1.x": 49_407, "SD 2.x": 0}
    for family, tokenizer in tokenizers.items():
        first, second = chunks_of(tokenizer, LONG, CHUNKS)
        assert first.ids == (49_406, *[2368] * 75, 49_407)
        assert second.ids == (49_406, *[2368] * 5, 49_407, *[pads[family]] * 70)
        assert first.weights == second.weights == (1.0,) * 77


@pytest.mark.parametrize("encoding", [CHUNKS, A1111, PromptEncoding(syntax="a1111")])
@pytest.mark.parametrize("prompt", ["", "a cat, asleep", (WORD * 75).strip()])
def test_a_short_plain_prompt_is_read_alike_in_every_way_bit_for_bit(
    prompt: str, encoding: PromptEncoding, embed: Callable[..., Tensor], tokenizers: dict[str, Any], encoder: Any
) -> None:
    ids = tokenizers["SD 1.x"](prompt, padding="max_length", truncation=True, return_tensors="pt").input_ids
    with torch.no_grad():
        assert torch.equal(embed(prompt, encoding), encoder(ids).last_hidden_state[0])


def test_cut_with_weights_reads_the_first_75_tokens_and_no_break(tokenizers: dict[str, Any]) -> None:
    (chunk,) = chunks_of(tokenizers["SD 1.x"], f"(dog:1.5) BREAK {LONG}", PromptEncoding(syntax="a1111"))
    assert chunk.ids[1:76] == (1929, *[2368] * 74)
    assert chunk.weights[1:76] == (1.5, *[1.0] * 74)


def test_plain_chunks_read_marks_as_text(tokenizers: dict[str, Any]) -> None:
    (chunk,) = chunks_of(tokenizers["SD 1.x"], "(red:1.3) BREAK", CHUNKS)
    assert tokenizers["SD 1.x"].decode(chunk.ids[1:8]) == "( red : 1 . 3 )" and not chunk.is_weighted


def test_a_mean_of_zero_is_not_restored() -> None:
    states = torch.tensor([[1.0, -1.0], [2.0, -2.0], [0.5, -0.5]])[None]
    weighted = weighed(states, [Chunk((0, 1, 2), (1.0, 1.5, 1.0))])
    assert torch.equal(weighted, torch.tensor([[1.0, -1.0], [3.0, -3.0], [0.5, -0.5]])[None])


def test_equal_weights_are_no_weights(embed: Callable[..., Tensor]) -> None:
    plain, weighed = embed(" ".join(["cat"] * 75)), embed(f"({' '.join(['cat'] * 75)}:1.3)")
    inner = slice(1, 76)
    ratio = (weighed[inner] / plain[inner]).flatten()
    torch.testing.assert_close(ratio, ratio[0].expand_as(ratio), rtol=1e-4, atol=0)
    torch.testing.assert_close(weighed.mean(), plain.mean(), rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize(
    ("prompt", "sections"),
    [
        ("", [[]]),
        ("(a", [[("a", 1.1)]]),
        ("a) b]", [[("a) b]", 1.0)]]),
        ("[a", [[("a", 1 / 1.1)]]),
        ("a:1.2)", [[("a:1.2)", 1.0)]]),
        ("(a:1.2", [[("a:1.2", 1.1)]]),
        ("(a:-1)", [[("a", -1.0)]]),
        ("(a: .5 )", [[("a", 0.5)]]),
        (r"\(a\)", [[("(a)", 1.0)]]),
        (r"\\(a)", [[("\\", 1.0), ("a", 1.1)]]),
        ("BREAKFAST", [[("BREAKFAST", 1.0)]]),
        ("a BREAK, b", [[("a", 1.0)], [(", b", 1.0)]]),
        ("(a BREAK b:1.4)", [[("a", 1.4)], [("b", 1.4)]]),
        ("a <lora:x:1>b < c > d", [[("a b < c > d", 1.0)]]),
    ],
)
def test_the_grammar(prompt: str, sections: list[list[tuple[str, float]]]) -> None:
    assert sections_of(prompt) == sections


@pytest.mark.parametrize(
    ("prompt", "marks"),
    [
        ("a (red:1.3) cat", {"weights"}),
        ("(score_9:1.2), cat", {"weights"}),
        ("((masterpiece)), [[blurry]]", {"weights"}),
        (r"miku \(vocaloid\)", {"weights"}),
        ("a cat (asleep), at (16:30), ratio (16:9), [sic], [10:30]", set()),
        ("a BREAK b", {"BREAK"}),
        ("BREAKING news, breakfast", set()),
        ("<lora:x:1> <LyCO:y:0.5> <hypernet:z>", {"LoRA tags"}),
        ("a < b, <b>bold</b>, http://x", set()),
        ("embedding:bad-hands, EMBEDDING:x", {"textual inversions"}),
        ("an embedding: of words", set()),
        ("[cat:dog:0.5] [cat|dog] [:hat:12]", {"edits"}),
        ("[hat:.3]", {"edits"}),
    ],
)
def test_marks(prompt: str, marks: set[str]) -> None:
    assert marks_in(prompt) == marks


@pytest.mark.parametrize("skip", [1, 2, 3])
def test_clip_skip_counts_as_a1111_does_and_ends_with_the_layer_norm(
    skip: int, embed: Callable[..., Tensor], tokenizers: dict[str, Any], encoder: Any
) -> None:
    ids = tokenizers["SD 1.x"]("a cat", padding="max_length", return_tensors="pt").input_ids
    with torch.no_grad():
        state = encoder.embeddings(ids)
        mask = torch.full((77, 77), float("-inf")).triu(1)[None, None]
        for layer in encoder.encoder.layers[: 3 - (skip - 1)]:
            state = layer(state, mask)
            state = state[0] if isinstance(state, tuple) else state
        wanted = encoder.final_layer_norm(state)[0]
    torch.testing.assert_close(embed("a cat", PromptEncoding(clip_skip=skip)), wanted, rtol=0, atol=1e-5)


def test_rows_of_unequal_lengths_are_masked_and_rows_of_equal_ones_are_not() -> None:
    rows = [{"text": torch.full((length, 2), float(length)), "pooled": torch.ones(3)} for length in (4, 2, 6)]
    batch = together(rows)
    assert batch["text"].shape == (3, 6, 2) and batch["pooled"].shape == (3, 3)
    assert batch["text_mask"].sum(dim=1).tolist() == [4, 2, 6]
    assert batch["text"][1, 2:].eq(0).all() and batch["text"][1, :2].eq(2).all()
    assert together(rows[:1] * 2).keys() == {"text", "pooled"}


def test_repeated_states_change_no_attention() -> None:
    generator = torch.Generator().manual_seed(0)
    query, short, long = (torch.randn(1, n, 8, generator=generator) for n in (5, 4, 6))
    first, second = of_equal_length({"text": short[0]}, {"text": long[0]})
    assert first["text"].shape == second["text"].shape == (12, 8)
    for before, after in ((short, first), (long, second)):
        attend = torch.nn.functional.scaled_dot_product_attention
        torch.testing.assert_close(
            attend(query, before, before), attend(query, after["text"][None], after["text"][None]), rtol=0, atol=1e-6
        )
