"""The table of published scorers: name, backbone, weights, output, licence, and the meaning of the score."""

from collections.abc import Iterable
from dataclasses import dataclass

from thumbtune.errors import UsageError
from thumbtune.evaluation.scorers.published_files import PublishedFile

CLIP_L, CLIP_H = "openai/clip-vit-large-patch14", "laion/CLIP-ViT-H-14-laion2B-s32B-b79K"
PICK, HPS = "yuvalkirstain/PickScore_v1", "xswu/HPSv2"
BERT = "google-bert/bert-base-uncased"
LAION = "https://github.com/LAION-AI/aesthetic-predictor/blob/main"
IMPROVED = "https://github.com/christophschuhmann/improved-aesthetic-predictor/raw/main"
OPENRAIL = "CreativeML OpenRAIL-M"  # restricts use
TOKENIZER = ("tokenizer_config.json", "vocab.json", "merges.txt")


@dataclass(frozen=True)
class Backbone:
    """A network that is loaded once for all scorers that use it.

    kind: clip (as in `transformers`), openclip, image-reward, cycle-reward or safety
    weights: the file of its weights
    tokenizer: the repository of its tokenizer; empty if it reads images only
    pixels: preprocessing of images, clip or hps
    """

    name: str
    kind: str
    weights: PublishedFile
    tokenizer: str
    pixels: str = "clip"
    size: int = 0  # millions of parameters


@dataclass(frozen=True)
class PublishedScorer:
    """A published scorer. output: percent, scaled, cosine, line, reward or passes, computed with its backbone."""

    name: str
    backbone: Backbone
    output: str
    description: str
    licence: str
    line: PublishedFile | None = None

    @property
    def preprocessing(self) -> str:
        """Name of the preprocessing of images and prompts; scores of different preprocessing differ."""
        return f"{self.backbone.pixels}-pixels/1"


L14 = Backbone("clip-l14", "clip", PublishedFile("model.safetensors", CLIP_L), CLIP_L, size=428)
H14 = Backbone("clip-h14", "clip", PublishedFile("model.safetensors", CLIP_H), CLIP_H, size=986)
PICKSCORE = Backbone("pickscore", "clip", PublishedFile("model.safetensors", PICK), CLIP_H, size=986)
HPS20 = Backbone("hpsv2.0", "openclip", PublishedFile("HPS_v2_compressed.pt", HPS), CLIP_H, "hps", 986)
HPS21 = Backbone("hpsv2.1", "openclip", PublishedFile("HPS_v2.1_compressed.pt", HPS), CLIP_H, "hps", 986)
REWARD = Backbone("imagereward", "image-reward", PublishedFile("ImageReward.pt", "THUDM/ImageReward"), BERT, size=446)
CYCLE = Backbone(
    "cyclereward",
    "cycle-reward",
    PublishedFile("model.safetensors", "NagaSaiAbhinay/CycleReward-Combo"),
    BERT,
    size=446,
)
CHECKER = Backbone(
    "safety-checker",
    "safety",
    PublishedFile("model.safetensors", "CompVis/stable-diffusion-safety-checker"),
    "",
    size=304,
)

V1 = PublishedFile(
    "sa_0_4_vit_l_14_linear.pth",
    url=f"{LAION}/sa_0_4_vit_l_14_linear.pth?raw=true",
    sha256="2cd4e60f4f24ae3bcd57b847b13c1f3ba27edc28cc1a7f9ce74ee9f421243cba",
)
V2 = PublishedFile(
    "sac+logos+ava1-l14-linearMSE.pth",
    url=f"{IMPROVED}/sac%2Blogos%2Bava1-l14-linearMSE.pth",
    sha256="21dd590f3ccdc646f0d53120778b296013b096a035a2718c9cb0d511bff0f1e0",
)

PUBLISHED_SCORERS = {
    scorer.name: scorer
    for scorer in (
        PublishedScorer(
            "aesthetic-v2", L14, "line", "how good it looks, about 1 to 10 (LAION, improved)", "Apache-2.0", V2
        ),
        PublishedScorer("aesthetic-v1", L14, "line", "how good it looks, about 1 to 10 (LAION, first)", "MIT", V1),
        PublishedScorer("clip-l14", L14, "percent", "100 cosines of image and prompt (OpenAI's ViT-L/14)", "MIT"),
        PublishedScorer("pickscore", PICKSCORE, "scaled", "preference of Pick-a-Pic's users, as a logit", "MIT"),
        PublishedScorer("imagereward", REWARD, "reward", "preference, of mean 0 and variance 1", "Apache-2.0"),
        PublishedScorer("clip-h14", H14, "percent", "100 cosines of image and prompt (LAION's ViT-H/14)", "MIT"),
        PublishedScorer("hpsv2.0", HPS20, "cosine", "human preference score, version 2.0, a cosine", "Apache-2.0"),
        PublishedScorer("hpsv2.1", HPS21, "cosine", "human preference score, version 2.1, a cosine", "Apache-2.0"),
        PublishedScorer(
            "cyclereward", CYCLE, "reward", "how well prompt and image can be reconstructed from each other", "MIT"
        ),
        PublishedScorer(
            "safe",
            CHECKER,
            "passes",
            "1 if Stable Diffusion's safety checker does not flag the image, else 0",
            OPENRAIL,
        ),
    )
}


def find_published_scorers(names: Iterable[str]) -> list[PublishedScorer]:
    """Return the published scorers of these names, ordered so that scorers of one backbone are adjacent.

    Raises:
        UsageError: a name is unknown.
    """
    unique = list(dict.fromkeys(names))
    for name in unique:
        if name not in PUBLISHED_SCORERS:
            known = ", ".join(PUBLISHED_SCORERS)
            raise UsageError(
                f"There is no scorer {name!r}; use {known}, or your own as my_file.py:name.", code="scorer-unknown"
            )
    order = list(dict.fromkeys(PUBLISHED_SCORERS[name].backbone.name for name in unique))
    return sorted((PUBLISHED_SCORERS[name] for name in unique), key=lambda scorer: order.index(scorer.backbone.name))
