"""The vocabulary of the bundled model: 48 concepts in 5 styles, on pages of several colours, and their captions."""

import random
from dataclasses import dataclass

# style in captions -> the emoji set of that style, as (npm package, version, licence)
STYLES: dict[str, tuple[str, str, str]] = {
    "cartoon": ("@iconify-json/noto", "1.2.9", "Apache-2.0"),
    "classic": ("@iconify-json/noto-v1", "1.2.5", "Apache-2.0"),
    "soft 3d": ("@iconify-json/fluent-emoji", "1.2.7", "MIT"),
    "flat": ("@iconify-json/fluent-emoji-flat", "1.2.6", "MIT"),
    "line art": ("@iconify-json/fluent-emoji-high-contrast", "1.2.6", "MIT"),
}

# a sixth set, only for measuring the judge; nothing in the package is trained on it
MEASURE = ("twemoji", ("@iconify-json/twemoji", "1.2.5", "CC-BY-4.0"))

# concepts that a demo's simulated person rates
RATED = (
    "red apple, strawberry, watermelon, pear, mushroom, tulip, evergreen tree, cat face, bear, frog, "
    "penguin, octopus, butterfly, pizza, soft ice cream, rocket, sailboat, house, sun, star, snowman, "
    "guitar, key, grinning face"
).split(", ")

# concepts without likes in any style: the demo is evaluated on them
UNRATED = (
    "banana, pineapple, carrot, cactus, sunflower, four leaf clover, dog face, panda, fox, owl, fish, "
    "spouting whale, hamburger, doughnut, hot beverage, automobile, umbrella, crescent moon, cloud, "
    "soccer ball, bell, light bulb, ghost, red heart"
).split(", ")

CONCEPTS = RATED + UNRATED

# synonyms from the keywords of emojibase; each belongs to one concept
SYNONYMS: dict[str, tuple[str, ...]] = {
    "red apple": ("apple",),
    "mushroom": ("toadstool",),
    "evergreen tree": ("pine tree", "christmas tree"),
    "cat face": ("cat", "kitten"),
    "bear": ("grizzly",),
    "soft ice cream": ("ice cream",),
    "sailboat": ("yacht", "boat"),
    "house": ("home",),
    "grinning face": ("smile", "happy face"),
    "four leaf clover": ("clover",),
    "dog face": ("dog", "puppy"),
    "spouting whale": ("whale",),
    "hamburger": ("burger",),
    "doughnut": ("donut",),
    "hot beverage": ("coffee", "tea"),
    "automobile": ("car",),
    "crescent moon": ("moon",),
    "soccer ball": ("football", "ball"),
    "light bulb": ("bulb",),
    "red heart": ("heart", "love"),
}

GROUPS: dict[str, tuple[str, ...]] = {
    "food": (
        *("red apple", "strawberry", "watermelon", "pear", "banana", "pineapple", "carrot", "pizza", "soft ice cream"),
        *("hamburger", "doughnut", "hot beverage"),
    ),
    "plant": ("mushroom", "tulip", "evergreen tree", "cactus", "sunflower", "four leaf clover"),
    "animal": (
        *("cat face", "bear", "frog", "penguin", "octopus", "butterfly", "dog face", "panda", "fox", "owl", "fish"),
        "spouting whale",
    ),
    "vehicle": ("rocket", "sailboat", "automobile"),
    "weather": ("sun", "star", "snowman", "umbrella", "crescent moon", "cloud"),
    "object": ("house", "guitar", "key", "soccer ball", "bell", "light bulb"),
    "emotion": ("grinning face", "ghost", "red heart"),
}
GROUP_OF = {concept: group for group, members in GROUPS.items() for concept in members}

# pages that are not white, as coloured paper
PAGES: dict[str, tuple[int, int, int]] = {
    "red": (235, 110, 105),
    "orange": (245, 175, 100),
    "yellow": (250, 230, 125),
    "green": (150, 210, 140),
    "blue": (140, 185, 240),
    "purple": (190, 155, 225),
    "pink": (248, 185, 210),
    "gray": (185, 185, 185),
}
SMALL = 0.6  # width of a small thing relative to the usual size


# sampling weight of each style: guidance favours the most distinct style, line art, so a model trained on all styles
# equally generates it in one of three images when the prompt names no style
SHOWN = {style: 0.5 if style == "line art" else 1.0 for style in STYLES}


def held_out(concept: str, style: str) -> bool:
    """Return whether this concept in this style is held out from the generator, to measure composition.

    Every second concept lacks one style, and every style is lacking equally often.
    """
    if concept not in CONCEPTS:
        return False
    place = CONCEPTS.index(concept)
    return place % 2 == 0 and list(STYLES)[place // 2 % len(STYLES)] == style


def slug(concept: str) -> str:
    """Return the icon name of a concept: its CLDR label in lower case, words joined by hyphens."""
    return concept.replace(" ", "-")


@dataclass(frozen=True, kw_only=True)
class Look:
    """The page and the size of one training image."""

    page: str = "white"
    small: bool = False


# share of each look: a prompt without these words asks for a plain image
LOOKS: dict[Look, float] = {
    Look(): 0.80,
    Look(small=True): 0.06,
    **{Look(page=page): 0.11 / len(PAGES) for page in PAGES},
    **{Look(page=page, small=True): 0.03 / len(PAGES) for page in PAGES},
}


def caption(concept: str, style: str, look: Look, rng: random.Random) -> str:
    """Return one training caption with only facts about its image.

    Three captions in ten omit the style, so that a prompt without a style may give any style and likes can decide. A
    page that is not white and a small size are always named.
    """
    name = concept
    if concept in SYNONYMS and rng.random() < 0.25:
        name = rng.choice(SYNONYMS[concept])
    elif rng.random() < 0.04:
        name = GROUP_OF.get(concept, concept)
    name = f"small {name}" if look.small else name
    article = rng.choice(["", "an " if name[0] in "aeiou" else "a "])
    parts = [article + name]
    if name != GROUP_OF.get(concept) and rng.random() < 0.08:
        parts += [GROUP_OF[concept]] if concept in GROUP_OF else []
    if rng.random() < 0.7:
        parts.append(style)
    if look.page != "white" or rng.random() < 0.03:
        parts.append(f"on {look.page}")
    return ", ".join(parts)


def as_bundled() -> dict[str, object]:
    """Return what the package tells of the vocabulary: concepts with their synonyms, groups, styles and pages."""
    return {
        "concepts": {concept: list(SYNONYMS.get(concept, ())) for concept in CONCEPTS},
        "groups": list(GROUPS),
        "styles": list(STYLES),
        "pages": ["white", *PAGES],
    }
