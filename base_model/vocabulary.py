"""What the bundled model can draw: 48 concepts in 5 styles, and the captions that name them."""

import random

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


def slug(concept: str) -> str:
    """The icon name of a concept: its CLDR label in lower case, words joined by hyphens."""
    return concept.replace(" ", "-")


def caption(concept: str, style: str, rng: random.Random) -> str:
    """One training caption. Style words are left out more often than not, so that a plain prompt
    may be drawn in any style and likes have something to decide."""
    article = "an " if concept[0] in "aeiou" else "a "
    text = rng.choice(["", article]) + concept
    return f"{text}, {style}" if rng.random() < 0.4 else text
