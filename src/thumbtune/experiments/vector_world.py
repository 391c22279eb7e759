"""The small vector world: prompts, true samples, a person, and exact measures of samples. A screen for ideas, no judge.

A sample of prompt k = 0..47 is 8 numbers. n: standard normal numbers; sd: 0.25

    x = (c_k + 0.25 n, m_j + 0.25 n, n)    content (2), style (3), attributes (3)
    c_k                                    the content of prompt k: fixed, once drawn from N(0, I)
    j = 0..4                               one of five modes, with chance 0.30, 0.25, 0.20, 0.15, 0.10

    feeling = +-2 + 1.5 s_k a              + if the mode nearest to the style is the one that the person wants for k
                                           wanted: mode 3 or 4 by the first bit of k; s_k = -1 or 1 by the second bit
                                           a: the first attribute, so its sign must be learnt by the prompt (an XOR)
    liked by the person's truth            feeling > 0.5
    a label is a like                      with chance sigmoid(feeling - 0.5)

    sound                                  content within 3.5 sd of c_k, style within 4 sd of a mode, attributes^2 < 30
    like                                   the share of samples that are sound and liked by the person's truth

The third bit of k decides whether k is ever rated: half of the prompts are, and measures are of the other half.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

SIZE, CONTENT, STYLE = 8, 2, slice(2, 5)  # numbers of a sample, of its content, and where its style stands
LIKED_ATTRIBUTE, FREE = 5, slice(6, 8)  # places; nobody wants anything of the free attributes
PROMPTS, EMBEDDING = 48, 12
SPREAD = 0.25  # sd of content and style
MODES = torch.tensor([[1.6, 0, 0], [-1.6, 0, 0], [0, 1.6, 0], [0, -1.6, 0], [0, 0, 1.6]])
CHANCES = (0.30, 0.25, 0.20, 0.15, 0.10)
WANTED_BY_BIT = (3, 4)  # the two rarest modes
FOR_STYLE, FOR_ATTRIBUTE, LIKED_ABOVE = 2.0, 1.5, 0.5
CONTENT_REACH, STYLE_REACH, ATTRIBUTES_REACH = 3.5, 4.0, 30.0  # sd, sd, squared length
FIXED_SEED = 0  # of the contents and embeddings: one world for all


def bit(prompts: Int[Tensor, "n"], place: int) -> Int[Tensor, "n"]:
    """Return the bit of each prompt's number at a place: 0 decides the style, 1 the sign, 2 whether it is rated."""
    return (prompts >> place) & 1


def rated(is_rated: bool = True) -> Int[Tensor, "24"]:
    """Return the prompts that the person rates, or those that nobody rates."""
    every = torch.arange(PROMPTS)
    return every[bit(every, 2) == (0 if is_rated else 1)]


def contents() -> Float[Tensor, "48 2"]:
    """Return c_k of each prompt."""
    return torch.randn(PROMPTS, CONTENT, generator=torch.Generator().manual_seed(FIXED_SEED))


def embeddings() -> Float[Tensor, "48 12"]:
    """Return what a network is told of each prompt: ten numbers as they come, and the two bits as -1 or 1."""
    every = torch.arange(PROMPTS)
    words = torch.randn(PROMPTS, EMBEDDING - 2, generator=torch.Generator().manual_seed(FIXED_SEED + 1))
    bits = torch.stack([2 * bit(every, place) - 1 for place in (0, 1)], 1)
    return torch.cat([0.7 * words, bits.float()], 1)


def true_samples(prompts: Int[Tensor, "n"], generator: torch.Generator) -> Float[Tensor, "n 8"]:
    """Return samples of the true distribution, one for each prompt."""
    mode = torch.multinomial(torch.tensor(CHANCES), len(prompts), replacement=True, generator=generator)
    noise = torch.randn(len(prompts), SIZE, generator=generator)
    noise[:, : STYLE.stop] *= SPREAD
    return noise + torch.cat([contents()[prompts], MODES[mode], torch.zeros(len(prompts), 3)], 1)


def liked_true_samples(prompts: Int[Tensor, "n"], generator: torch.Generator) -> Float[Tensor, "n 8"]:
    """Return samples of the true distribution given that the person's truth likes them: the ceiling of `like`."""
    samples, missing = true_samples(prompts, generator), torch.arange(len(prompts))
    while len(missing := missing[~is_liked(samples[missing], prompts[missing])]):
        samples[missing] = true_samples(prompts[missing], generator)
    return samples


def distances(samples: Float[Tensor, "n 8"]) -> Float[Tensor, "n 5"]:
    """Return the distance of each sample's style from each mode, in sd."""
    return (samples[:, None, STYLE] - MODES).pow(2).sum(2).sqrt() / SPREAD


def has_wanted_style(samples: Float[Tensor, "n 8"], prompts: Int[Tensor, "n"]) -> Bool[Tensor, "n"]:
    """Return whether the mode nearest to each style is the one that the person wants for the prompt."""
    return distances(samples).argmin(1) == torch.tensor(WANTED_BY_BIT)[bit(prompts, 0)]


def signed_attribute(samples: Float[Tensor, "n 8"], prompts: Int[Tensor, "n"]) -> Float[Tensor, "n"]:
    """Return s_k a: the attribute in the direction that the person wants for the prompt."""
    return (2 * bit(prompts, 1) - 1) * samples[:, LIKED_ATTRIBUTE]


def feeling(samples: Float[Tensor, "n 8"], prompts: Int[Tensor, "n"]) -> Float[Tensor, "n"]:
    """Return how the person feels about each sample of a prompt."""
    by_style = torch.where(has_wanted_style(samples, prompts), FOR_STYLE, -FOR_STYLE)
    return by_style + FOR_ATTRIBUTE * signed_attribute(samples, prompts)


def is_liked(samples: Float[Tensor, "n 8"], prompts: Int[Tensor, "n"]) -> Bool[Tensor, "n"]:
    """Return the person's truth, without noise."""
    return feeling(samples, prompts) > LIKED_ABOVE


def labels(samples: Float[Tensor, "n 8"], prompts: Int[Tensor, "n"], generator: torch.Generator) -> Bool[Tensor, "n"]:
    """Return the person's labels, which are noisy."""
    chance = torch.sigmoid(feeling(samples, prompts) - LIKED_ABOVE)
    return torch.rand(len(samples), generator=generator) < chance


def is_sound(samples: Float[Tensor, "n 8"], prompts: Int[Tensor, "n"]) -> Bool[Tensor, "n"]:
    """Return whether each sample is on its prompt's content, on a mode, and not beyond all attributes.

    A sample with a NaN is not sound.
    """
    on_content = (samples[:, :CONTENT] - contents()[prompts]).norm(dim=1) < CONTENT_REACH * SPREAD
    on_mode = distances(samples).min(1).values < STYLE_REACH
    return on_content & on_mode & (samples[:, STYLE.stop :].pow(2).sum(1) < ATTRIBUTES_REACH)


@dataclass(frozen=True)
class Measures:
    """Measures of samples; shares are of all samples.

    like:   sound, and liked by the person's truth        sound: see `is_sound`
    style:  with the wanted style                         attribute: mean of the attribute in the wanted direction
    spread: sd of the free attributes of sound samples, 1 of true samples: less is less diverse
    """

    like: float
    sound: float
    style: float
    attribute: float
    spread: float


def measures(samples: Float[Tensor, "n 8"], prompts: Int[Tensor, "n"]) -> Measures:
    """Return the measures of samples; means of attributes and spread are of sound samples, 0 if there are none."""
    sound = is_sound(samples, prompts)
    kept, of = samples[sound], prompts[sound]
    return Measures(
        like=_share(is_liked(samples, prompts) & sound),
        sound=_share(sound),
        style=_share(has_wanted_style(samples, prompts)),
        attribute=float(signed_attribute(kept, of).mean()) if len(kept) else 0.0,
        spread=float(kept[:, FREE].std(correction=0)) if len(kept) else 0.0,
    )


def _share(which: Bool[Tensor, "n"]) -> float:
    return float(which.double().mean())


def facts() -> dict[str, object]:
    """Return the numbers that make this world, as rows store them."""
    return {
        "modes": MODES.tolist(),
        "chances": list(CHANCES),
        "wanted": list(WANTED_BY_BIT),
        "feeling": [FOR_STYLE, FOR_ATTRIBUTE, LIKED_ABOVE],
        "spread": SPREAD,
        "reach": [CONTENT_REACH, STYLE_REACH, ATTRIBUTES_REACH],
        "sizes": [SIZE, PROMPTS, EMBEDDING, FIXED_SEED],
    }
