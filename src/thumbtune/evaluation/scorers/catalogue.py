"""The scorers by name: whose weights, which backbone, what is read off it, and what the number means."""

from collections.abc import Iterable
from dataclasses import dataclass

from thumbtune.errors import UsageError
from thumbtune.evaluation.scorers.published import File

CLIP_L, CLIP_H = "openai/clip-vit-large-patch14", "laion/CLIP-ViT-H-14-laion2B-s32B-b79K"
PICK, HPS = "yuvalkirstain/PickScore_v1", "xswu/HPSv2"
BERT = "google-bert/bert-base-uncased"
LAION = "https://github.com/LAION-AI/aesthetic-predictor/blob/main"
IMPROVED = "https://github.com/christophschuhmann/improved-aesthetic-predictor/raw/main"
OPENRAIL = "CreativeML OpenRAIL-M"  # whose use is restricted, as its text says
TOKENIZER = ("tokenizer_config.json", "vocab.json", "merges.txt")


@dataclass(frozen=True)
class Backbone:
    """A network that is loaded once for all scorers that read off it.

    kind: clip (in the form of `transformers`), openclip, image-reward, cycle-reward or safety
    weights: its file
    words: the repository of its tokenizer; none where it looks at images alone
    pixels: how it looks at images, clip or hps
    """

    name: str
    kind: str
    weights: File
    words: str
    pixels: str = "clip"
    size: int = 0  # millions of parameters


@dataclass(frozen=True)
class Entry:
    """A scorer. `reads` is what it takes from its backbone: percent, scaled, cosine, line, reward or passes."""

    name: str
    backbone: Backbone
    reads: str
    what: str
    licence: str
    line: File | None = None

    @property
    def preprocessing(self) -> str:
        """What happens to an image and a prompt before the network sees them; part of what a score is."""
        return f"{self.backbone.pixels}-pixels/1"


L14 = Backbone("clip-l14", "clip", File("model.safetensors", CLIP_L), CLIP_L, size=428)
H14 = Backbone("clip-h14", "clip", File("model.safetensors", CLIP_H), CLIP_H, size=986)
PICKSCORE = Backbone("pickscore", "clip", File("model.safetensors", PICK), CLIP_H, size=986)
HPS20 = Backbone("hpsv2.0", "openclip", File("HPS_v2_compressed.pt", HPS), CLIP_H, "hps", 986)
HPS21 = Backbone("hpsv2.1", "openclip", File("HPS_v2.1_compressed.pt", HPS), CLIP_H, "hps", 986)
REWARD = Backbone("imagereward", "image-reward", File("ImageReward.pt", "THUDM/ImageReward"), BERT, size=446)
CYCLE = Backbone(
    "cyclereward", "cycle-reward", File("model.safetensors", "NagaSaiAbhinay/CycleReward-Combo"), BERT, size=446
)
CHECKER = Backbone(
    "safety-checker", "safety", File("model.safetensors", "CompVis/stable-diffusion-safety-checker"), "", size=304
)

V1 = File(
    "sa_0_4_vit_l_14_linear.pth",
    url=f"{LAION}/sa_0_4_vit_l_14_linear.pth?raw=true",
    sha256="2cd4e60f4f24ae3bcd57b847b13c1f3ba27edc28cc1a7f9ce74ee9f421243cba",
)
V2 = File(
    "sac+logos+ava1-l14-linearMSE.pth",
    url=f"{IMPROVED}/sac%2Blogos%2Bava1-l14-linearMSE.pth",
    sha256="21dd590f3ccdc646f0d53120778b296013b096a035a2718c9cb0d511bff0f1e0",
)

ENTRIES = {
    entry.name: entry
    for entry in (
        Entry("aesthetic-v2", L14, "line", "how good it looks, about 1 to 10 (LAION, improved)", "Apache-2.0", V2),
        Entry("aesthetic-v1", L14, "line", "how good it looks, about 1 to 10 (LAION, first)", "MIT", V1),
        Entry("clip-l14", L14, "percent", "100 cosines of image and prompt (OpenAI's ViT-L/14)", "MIT"),
        Entry("pickscore", PICKSCORE, "scaled", "preference of Pick-a-Pic's users, as a logit", "MIT"),
        Entry("imagereward", REWARD, "reward", "preference, of mean 0 and variance 1", "Apache-2.0"),
        Entry("clip-h14", H14, "percent", "100 cosines of image and prompt (LAION's ViT-H/14)", "MIT"),
        Entry("hpsv2.0", HPS20, "cosine", "human preference score, version 2.0, a cosine", "Apache-2.0"),
        Entry("hpsv2.1", HPS21, "cosine", "human preference score, version 2.1, a cosine", "Apache-2.0"),
        Entry("cyclereward", CYCLE, "reward", "how well prompt and image can be told from each other", "MIT"),
        Entry("safe", CHECKER, "passes", "1 where Stable Diffusion's safety checker flags nothing, or 0", OPENRAIL),
    )
}


def entries(names: Iterable[str]) -> list[Entry]:
    """The scorers of those names, those that share a backbone next to each other.

    Raises:
        UsageError: there is none of that name.
    """
    asked = list(dict.fromkeys(names))
    for name in asked:
        if name not in ENTRIES:
            known = ", ".join(ENTRIES)
            raise UsageError(f"There is no scorer {name!r}; known are {known}, and your own as my_file.py:name.")
    order = list(dict.fromkeys(ENTRIES[name].backbone.name for name in asked))
    return sorted((ENTRIES[name] for name in asked), key=lambda entry: order.index(entry.backbone.name))
