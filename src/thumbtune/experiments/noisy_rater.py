"""A noisy rater: a simulated person who wants something by degrees, and errs the more the closer a call is.

P(like image)  = sigmoid(log_odds / tau)             log_odds: how well the image is what the person wants
P(a beats b)   = sigmoid((log_odds_a - log_odds_b) / tau)              Bradley and Terry 1952

tau is the person's noise: towards 0 they like just the images with log-odds above 0, and with a large tau they toss a
coin. Every answer follows from (seed, image) alone: the same person gives the same image the same label again.

A like is a feeling v = log_odds / tau + noise above 0, where the noise is logistic: P(v > 0) = sigmoid(log_odds / tau).
Stars cut the same feeling at -1.5, -0.5, 0.5 and 1.5.
"""

import hashlib
import math

from PIL.Image import Image

from thumbtune.images import rgb

STAR_CUTS = (-1.5, -0.5, 0.5, 1.5)  # of the feeling: one star below the first, five above the last
CLIP = 5.0  # of the log-odds: with tau 2 no image is liked with a chance above 0.924 or below 0.076


def like_chance(log_odds: float, tau: float | None) -> float:
    """Return the chance of a like; tau None is a person without noise, who likes what has log-odds above 0.

    >>> like_chance(0.0, 2.0), like_chance(0.1, None), round(like_chance(4.0, 2.0), 3)
    (0.5, 1.0, 0.881)
    """
    if tau is None:
        return float(log_odds > 0)
    clipped = max(-CLIP, min(CLIP, log_odds))
    return 1 / (1 + math.exp(-clipped / tau))


def win_chance(log_odds: float, other: float, tau: float | None) -> float:
    """Return the chance that an image is preferred to another one; without noise, equal log-odds are a draw: 0.5."""
    if tau is None:
        return 0.5 * ((log_odds > other) + (log_odds >= other))
    a, b = (max(-CLIP, min(CLIP, value)) for value in (log_odds, other))
    return 1 / (1 + math.exp((b - a) / tau))


def image_key(image: Image) -> str:
    """Return a hash of an image's pixels, the same for any file format."""
    plain = rgb(image)
    return hashlib.sha256(f"{plain.size}:".encode() + plain.tobytes()).hexdigest()


def uniform(seed: int, *parts: str) -> float:
    """Return a number in [0, 1) that follows from the seed and the parts, by a hash."""
    digest = hashlib.sha256(":".join(["noisy rater", str(seed), *parts]).encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def likes(log_odds: float, tau: float | None, seed: int, key: str) -> bool:
    """Return the label of an image; `key` is its `image_key`."""
    return uniform(seed, key) < like_chance(log_odds, tau)


def feeling(log_odds: float, tau: float | None, seed: int, key: str) -> float:
    """Return v, which is above 0 just where `likes` is True; without noise it is the clipped log-odds."""
    clipped = max(-CLIP, min(CLIP, log_odds))
    if tau is None:
        return clipped
    u = uniform(seed, key)
    return clipped / tau + (math.log((1 - u) / u) if u else math.inf)


def stars(log_odds: float, tau: float | None, seed: int, key: str) -> int:
    """Return the stars of an image, 1 to 5; arguments as `likes`."""
    return 1 + sum(feeling(log_odds, tau, seed, key) > cut for cut in STAR_CUTS)


def prefers(pair: tuple[float, float], tau: float | None, seed: int, keys: tuple[str, str]) -> bool | None:
    """Return whether the first image of a pair is preferred, whichever is named first; None for a draw without noise.

    pair: the log-odds of both
    keys: their `image_key`s
    """
    if tau is None and pair[0] == pair[1]:
        return None
    if keys[0] > keys[1]:
        answer = prefers((pair[1], pair[0]), tau, seed, (keys[1], keys[0]))
        return None if answer is None else not answer
    return uniform(seed, *keys) < win_chance(*pair, tau)
