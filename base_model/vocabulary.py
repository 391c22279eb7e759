"""What the bundled model can draw: 48 concepts in 5 styles, on pages of several colours, and the captions for them."""

import random
from dataclasses import dataclass

# style word in captions -> the emoji set drawn in that style, as (npm package, version, licence)
STYLES: dict[str, tuple[str, str, str]] = {
    "cartoon": ("@iconify-json/noto", "1.2.9", "Apache-2.0"),
    "classic": ("@iconify-json/noto-v1", "1.2.5", "Apache-2.0"),
    "soft 3d": ("@iconify-json/fluent-emoji", "1.2.7", "MIT"),
    "flat": ("@iconify-json/fluent-emoji-flat", "1.2.6", "MIT"),
    "line art": ("@iconify-json/fluent-emoji-high-contrast", "1.2.6", "MIT"),
}

# a sixth look that nothing trains on: it measures the judge; no byte learnt from it rides in the package
MEASURE = ("twemoji", ("@iconify-json/twemoji", "1.2.5", "CC-BY-4.0"))

# concepts that a demo's simulated person rates
RATED = (
    "red apple, strawberry, watermelon, pear, mushroom, tulip, evergreen tree, cat face, bear, frog, "
    "penguin, octopus, butterfly, pizza, soft ice cream, rocket, sailboat, house, sun, star, snowman, "
    "guitar, key, grinning face"
).split(", ")

# concepts whose pictures, in any style, no like ever contains: the demo is judged on these
UNRATED = (
    "banana, pineapple, carrot, cactus, sunflower, four leaf clover, dog face, panda, fox, owl, fish, "
    "spouting whale, hamburger, doughnut, hot beverage, automobile, umbrella, crescent moon, cloud, "
    "soccer ball, bell, light bulb, ghost, red heart"
).split(", ")

CONCEPTS = RATED + UNRATED

# other names, from the keywords of emojibase; none stands for two concepts
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
SMALL = 0.6  # how wide a small thing is, against the usual


# how often a style is shown, against the others: guidance sharpens towards what is easiest to tell, and that is line
# art, so that a model shown all styles alike draws it one time in three when no style is asked for
SHOWN = {style: 0.5 if style == "line art" else 1.0 for style in STYLES}


def held_out(concept: str, style: str) -> bool:
    """Whether this concept in this style is kept from the generator: it must put the two together by itself.

    Every second concept lacks one style, and every style is lacking as often.
    """
    if concept not in CONCEPTS:
        return False
    place = CONCEPTS.index(concept)
    return place % 2 == 0 and list(STYLES)[place // 2 % len(STYLES)] == style


def slug(concept: str) -> str:
    """The icon name of a concept: its CLDR label in lower case, words joined by hyphens."""
    return concept.replace(" ", "-")


@dataclass(frozen=True, kw_only=True)
class Look:
    """How one training picture is laid out."""

    page: str = "white"
    small: bool = False


# how often each look is shown: plain pictures are what a prompt without such words asks for
LOOKS: dict[Look, float] = {
    Look(): 0.80,
    Look(small=True): 0.06,
    **{Look(page=page): 0.11 / len(PAGES) for page in PAGES},
    **{Look(page=page, small=True): 0.03 / len(PAGES) for page in PAGES},
}


def caption(concept: str, style: str, look: Look, rng: random.Random) -> str:
    """One training caption, true of its picture.

    Style words are left out three times in ten, so that a plain prompt may be drawn in any style and likes have
    something to decide; a page that is not white, and a small thing, are always named.
    """
    name = concept
    if concept in SYNONYMS and rng.random() < 0.25:
        name = rng.choice(SYNONYMS[concept])
    elif rng.random() < 0.04:
        name = GROUP_OF.get(concept, concept)
    name = f"small {name}" if look.small else name
    article = rng.choice(["", "an " if name[0] in "aeiou" else "a "])
    said = [article + name]
    if name != GROUP_OF.get(concept) and rng.random() < 0.08:
        said += [GROUP_OF[concept]] if concept in GROUP_OF else []
    if rng.random() < 0.7:
        said.append(style)
    if look.page != "white" or rng.random() < 0.03:
        said.append(f"on {look.page}")
    return ", ".join(said)
