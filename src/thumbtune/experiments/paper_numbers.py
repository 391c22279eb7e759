"""Published numbers of Diffusion-KTO: the paper's tables (arXiv 2404.04465), and others' measurements of its weights.

Five scores in this order: LAION aesthetics, PickScore, ImageReward, CLIP, HPS v2.
"""

import math
from collections.abc import Mapping

COLUMNS = ("Aesthetic", "PickScore", "ImageReward", "CLIP", "HPS v2")
SCORERS = ("aesthetic-v2", "pickscore", "imagereward", "clip-h14", "hpsv2.0")
IMAGES = 5  # of each prompt
Five = tuple[float, float, float, float, float]

# win-rates of Diffusion-KTO in percent, on Pick-a-Pic v2's test prompts
TABLE1: Mapping[str, Five] = {
    "sd15": (86.0, 85.2, 87.2, 62.0, 62.0),
    "sft": (56.4, 72.8, 64.8, 64.8, 54.6),
    "csft": (50.6, 73.6, 65.2, 62.8, 60.4),
    "alignprop": (86.8, 96.6, 84.4, 96.2, 90.2),
    "d3po": (68.0, 73.6, 71.6, 56.8, 55.6),
    "dpo": (74.2, 61.8, 78.4, 53.2, 51.6),
}
# mean scores on the same prompts, as printed: the headings of ImageReward and HPS v2 are exchanged there
TABLE2: Mapping[str, Five] = {
    "sd15": (5.281, 20.387, 0.333, 31.364, 0.102),
    "sft": (5.499, 20.664, 0.336, 31.377, 0.485),
    "csft": (5.527, 20.713, 0.335, 31.448, 0.488),
    "alignprop": (5.106, 19.123, 0.278, 26.932, 0.195),
    "d3po": (5.326, 20.413, 0.333, 31.350, 0.143),
    "dpo": (5.380, 20.785, 0.339, 31.673, 0.293),
    "kto": (5.527, 20.908, 0.342, 31.781, 0.623),
}
# mean scores of Diffusion-KTO on the prompts of HPS v2, by style
TABLE6: Mapping[str, Five] = {
    "anime": (5.493, 21.569, 0.716, 34.301, 0.368),
    "concept-art": (5.795, 21.011, 0.804, 33.141, 0.359),
    "paintings": (5.979, 21.065, 0.802, 33.662, 0.360),
    "photo": (5.365, 21.755, 0.471, 31.047, 0.332),
}
# win-rates of Diffusion-KTO on SD v2-1, by set of prompts
TABLE7: Mapping[str, Mapping[str, Five]] = {
    "pickapic-v2-test": {"sd21": (71.4, 70.0, 69.2, 53.4, 49.6), "dpo": (63.8, 67.4, 66.2, 50.0, 44.8)},
    "hpsv2": {"sd21": (72.2, 77.9, 71.0, 51.6, 50.1), "dpo": (65.8, 71.4, 67.3, 49.9, 47.4)},
    "partiprompts": {"sd21": (69.2, 67.2, 65.0, 50.8, 48.0), "dpo": (66.0, 61.2, 63.1, 49.2, 44.7)},
}
# Others' mean scores of the published checkpoints on Pick-a-Pic v2's test prompts. Scales differ with the versions
# of the scorers, so compare only within a row.
MEASURED_AGAIN = (
    {"source": "Diffusion-DRO (NeurIPS 2025)", "score": "PickScore", "sd15": 20.68, "dpo": 21.00, "kto": 21.17},
    {"source": "Diffusion-DRO (NeurIPS 2025)", "score": "HPS v2", "sd15": 26.88, "dpo": 27.22, "kto": 27.88},
    {"source": "Diffusion-DRO (NeurIPS 2025)", "score": "Aesthetic", "sd15": 5.93, "dpo": 5.96, "kto": 6.20},
    {"source": "Diffusion-DRO (NeurIPS 2025)", "score": "ImageReward", "sd15": 0.1765, "dpo": 0.3369, "kto": 0.6743},
    {"source": "Diffusion-DRO (NeurIPS 2025)", "score": "CLIP (cosine)", "sd15": 0.3369, "dpo": 0.3427, "kto": 0.3438},
    {"source": "TGO (ICML 2026)", "score": "HPS v2.1", "sd15": 0.2469, "dpo": 0.2594, "kto": 0.2814},
    {"source": "TGO (ICML 2026)", "score": "ImageReward", "sd15": 0.1131, "dpo": 0.3433, "kto": 0.6381},
)
SWAPPED_NOTE = (
    "In the paper's Table 2 the headings of ImageReward and HPS v2 are exchanged: 0.102 to 0.623 with intervals of "
    "0.04 is the scale of ImageReward, 0.333 to 0.342 with intervals of 0.002 is a cosine. Table 6 has them in the "
    "right order, and others measure an ImageReward of 0.11 to 0.18 before and 0.64 to 0.67 after. This page shows "
    "each column under its right heading. The same columns of Tables 1 and 7 may be exchanged too, so they are no "
    "target."
)
NARROW_NOTE = (
    "The paper's intervals count each image as a trial, although the median of five images makes one comparison; "
    "they are too narrow by the square root of five. This page gives its rates the interval for that number of prompts."
)


def table2_row(name: str) -> Five:
    """Return a row of Table 2 with ImageReward and HPS v2 under their right headings."""
    aesthetic, pick, hps, clip, reward = TABLE2[name]
    return aesthetic, pick, reward, clip, hps


def half_width(percent: float, prompts: int) -> float:
    """Return half the width of the 95 % interval of a rate in percent, with a prompt as the unit."""
    return 100 * 1.96 * math.sqrt(percent / 100 * (1 - percent / 100) / prompts)
