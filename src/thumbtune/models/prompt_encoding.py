"""Embed prompts of any length and with weights: tokens -> chunks -> states of a text encoder -> one condition a prompt.

text         the states of all chunks of a prompt, one after another            [77 x chunks, width]
pooled       of SDXL, of the first chunk alone, without weights                 [width]
text_mask    1 for the states of a prompt, 0 for what fills the shorter ones    [b, tokens]

Weights are those of A1111 ("Original"): the states of each chunk are multiplied by the weights of its tokens, and then
all by one number that restores their mean, so that a prompt of equal weights is that prompt without weights. ComfyUI
moves states away from those of the empty prompt instead, and restores nothing: (x:1.3) is a little stronger there.

A row never depends on its batch. In training, shorter prompts are filled up and a mask hides the filling. For
guidance, the chunks of the shorter text of the two are repeated, which changes no attention: as many copies of each
state share the weight of one. So every prompt counts as if it stood alone, as in A1111 (whose option to pad is off at
first) and in ComfyUI.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor

from thumbtune.errors import UsageError
from thumbtune.models.prompt_chunks import Chunk, PromptEncoding, chunks_of, empty_chunk

TEXT, MASK = "text", "text_mask"
ROUNDING = 1e-5  # a mean below this share of the states' size is 0, up to rounding
WIDTH_WITHOUT_LAST_LAYER = 1024  # SD 2.x: its files lack the last of the layers of its text encoder, which is not used
Layer = Callable[[Tensor], tuple[Tensor, Tensor | None]]  # tokens [n, 77] -> states [n, 77, width], pooled [n, width]
Row = Mapping[str, Tensor]


def embed_prompt(
    prompt: str, parts: Sequence[tuple[Any, Layer]], encoding: PromptEncoding, device: torch.device
) -> dict[str, Tensor]:
    """Return the condition of one prompt, without an axis for the batch, float32 on the CPU.

    Args:
        parts: each tokenizer with its text encoder; `pooled` is that of the last one.
        device: the device of the text encoders.
    """
    chunks = [chunks_of(tokenizer, prompt, encoding) for tokenizer, _ in parts]
    count = max(map(len, chunks))
    states, pooled = [], None
    for (tokenizer, layer), own in zip(parts, chunks, strict=True):
        filled = [*own, *[empty_chunk(tokenizer)] * (count - len(own))]
        text, pooled = layer(torch.tensor([chunk.ids for chunk in filled], device=device))
        states.append(weighed(text.float().cpu(), filled).flatten(0, 1))
    row = {TEXT: torch.cat(states, dim=-1)}
    return row if pooled is None else row | {"pooled": pooled[0].float().cpu()}


def weighed(states: Tensor, chunks: Sequence[Chunk]) -> Tensor:
    """Return the states of chunks, [n, tokens, width], times the weights of their tokens, each with its mean restored.

    A chunk whose weights are all 1 stays as it is, bit for bit. A mean that is nothing but rounding is not restored.
    """
    result = []
    for chunk, own in zip(chunks, states, strict=True):
        if not chunk.is_weighted:
            result.append(own)
            continue
        multiplied = own * torch.tensor(chunk.weights, dtype=own.dtype)[:, None]
        before, after = own.mean(), multiplied.mean()
        smallest = ROUNDING * multiplied.abs().mean()
        result.append(multiplied * (before / after) if min(before.abs(), after.abs()) > smallest else multiplied)
    return torch.stack(result)


def layer_of(encoder: Any, tokens: Tensor, skip: int | None) -> Tensor:
    """Return the states that an encoder of SD 1.x or 2.x gives the UNet, after the layer norm that ends it."""
    depth = 1 if skip is None else skip - _missing(encoder.config)
    if depth == 1:
        return encoder(tokens).last_hidden_state
    states = encoder(tokens, output_hidden_states=True).hidden_states[-depth]
    return getattr(encoder, "text_model", encoder).final_layer_norm(states)


def _missing(config: Any) -> int:
    return int(config.hidden_size == WIDTH_WITHOUT_LAST_LAYER)


def check_clip_skip(config: Any, skip: int | None) -> None:
    """Refuse a layer that the text encoder of SD 1.x or 2.x does not have.

    Raises:
        UsageError: it gives the layers that there are.
    """
    if skip is None:
        return
    first, last = 1 + _missing(config), config.num_hidden_layers + _missing(config)
    if not first <= skip <= last:
        raise UsageError(
            f"prompts.clip_skip is {skip} (--clip-skip), but the text encoder of this model has the layers {first} to "
            f"{last}, counted from the end; choose one of them, or leave the option out.",
            code="prompts-clip-skip",
        )


def own_tokens(text: Tensor, mask: Tensor) -> Tensor:
    """Return the states of a prompt's own tokens, without padding; of a mask without values, all of them."""
    return text if isinstance(mask, FakeTensor) else text[mask.bool()]


def together(rows: Sequence[Row]) -> dict[str, Tensor]:
    """Return the conditions of single prompts as one of a batch; of unequal lengths, with zeros behind a mask.

    >>> text = together([{"text": torch.ones(2, 1)}, {"text": torch.ones(4, 1)}])
    >>> text["text"].shape, text["text_mask"].tolist()
    (torch.Size([2, 4, 1]), [[1.0, 1.0, 0.0, 0.0], [1.0, 1.0, 1.0, 1.0]])
    """
    lengths = {len(row[TEXT]) for row in rows if TEXT in row}
    if len(lengths) < 2:  # noqa: PLR2004 - two lengths
        return {name: torch.stack([row[name] for row in rows]) for name in rows[0]}
    longest = max(lengths)
    batch = {name: torch.stack([row[name] for row in rows]) for name in rows[0] if name != TEXT}
    fillings = [row[TEXT].new_zeros(longest - len(row[TEXT]), *row[TEXT].shape[1:]) for row in rows]
    batch[TEXT] = torch.stack([torch.cat([row[TEXT], filling]) for row, filling in zip(rows, fillings, strict=True)])
    batch[MASK] = torch.stack([(torch.arange(longest) < len(row[TEXT])).float() for row in rows])
    return batch


def of_equal_length(row: Row, other: Row) -> tuple[Row, Row]:
    """Return two conditions whose texts are repeated until both are as long, which changes no attention to them."""
    longest = math.lcm(len(row[TEXT]), len(other[TEXT]))
    first, second = ({**one, TEXT: one[TEXT].repeat(longest // len(one[TEXT]), 1)} for one in (row, other))
    return first, second
