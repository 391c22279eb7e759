"""Load published scorers: one backbone in memory at a time, with all scorers that use it.

with load_scorers(published) as scorers:  scorers[i].score(images, prompts) -> [n]
"""

import gc
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from PIL.Image import Image
from safetensors.torch import load_file
from torch import Tensor

from thumbtune.errors import ThumbtuneError
from thumbtune.evaluation.scorers import blip, clip, safety
from thumbtune.evaluation.scorers.aesthetic import fold_to_linear_head
from thumbtune.evaluation.scorers.openclip import from_openclip, vit_h_14
from thumbtune.evaluation.scorers.pixels import clip_pixels, hps_pixels
from thumbtune.evaluation.scorers.prompt_cleaning import clean_prompt
from thumbtune.evaluation.scorers.published_files import LocalFile, Locations, PublishedFile, fetch, locate
from thumbtune.evaluation.scorers.published_scorers import TOKENIZER, Backbone, PublishedScorer
from thumbtune.evaluation.scorers.weights import convert_weights, read_tensors

PREPROCESSING = {"clip": clip_pixels, "hps": hps_pixels}
OUTPUTS: dict[str, Callable[..., Tensor]] = {"percent": clip.percent, "scaled": clip.scaled, "cosine": clip.cosines}
REWARD_KINDS = {"image-reward": blip.IMAGE_REWARD, "cycle-reward": blip.CYCLE_REWARD}


@dataclass(frozen=True)
class NetworkScorer:
    """A scorer that computes its number with a loaded network."""

    id: str
    revision: str
    preprocessing: str
    function: Callable[[Sequence[Image], Sequence[str]], Tensor]

    def score(self, images: Sequence[Image], prompts: Sequence[str]) -> Float[Tensor, "n"]:
        """Return one number for each image, in float32 on the CPU."""
        if len(images) != len(prompts):
            raise ThumbtuneError(
                f"{self.id} received {len(images)} images and {len(prompts)} prompts; give one prompt for each image.",
                code="scorer-length-mismatch",
            )
        return self.function(images, prompts).float().cpu() if images else torch.empty(0)


@contextmanager
def load_scorers(
    published: Sequence[PublishedScorer],
    locations: Locations | None = None,
    device: str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> Iterator[list[NetworkScorer]]:
    """Yield scorers of one backbone; its memory is freed when the block ends.

    Raises:
        ThumbtuneError: weights are missing, have another hash, or do not fit the network.
    """
    locations = locations or Locations()
    backbone = published[0].backbone
    if any(scorer.backbone != backbone for scorer in published):
        raise ThumbtuneError(
            "Scorers of several backbones cannot be loaded together; load them one after another.",
            code="scorer-several-backbones",
        )
    weights = fetch(backbone.weights, locations)
    network = _load_network(backbone, weights, locations)
    network.module.to(device=device, dtype=dtype)
    try:
        scorers = [_make_scorer(scorer, network, weights, locations) for scorer in published]
        # scores in half precision differ, so they get another revision
        suffix = "" if dtype == torch.float32 else f"/{str(dtype).removeprefix('torch.')}"
        yield [replace(scorer, revision=scorer.revision + suffix) for scorer in scorers]
    finally:
        network.module.to("meta")  # frees the memory even if a caller keeps a reference to a scorer
        del network
        gc.collect()
        if device.startswith("cuda"):
            torch.cuda.empty_cache()


def fetch_weights(published: Sequence[PublishedScorer], locations: Locations) -> None:
    """Download missing weights before images are generated for hours; hashes are checked when the weights are loaded.

    Raises:
        ThumbtuneError: a file cannot be found or downloaded; the error names the scorer.
    """
    for scorer in published:
        try:
            for file in (scorer.backbone.weights, scorer.line):
                if file is not None:
                    locate(file, locations)
        except ThumbtuneError as error:
            raise ThumbtuneError(f"{scorer.name}: {error}", code="scorer-weights-missing") from error


@dataclass
class Network:
    """A backbone in memory: a CLIP tower for several scorers, or a network that returns the reward itself."""

    module: Any
    tower: clip.Tower | None = None
    reward: Callable[[Sequence[Image], Sequence[str]], Tensor] | None = None


def _load_network(backbone: Backbone, weights: LocalFile, locations: Locations) -> Network:
    """Return the network with its weights, in evaluation mode."""
    if backbone.kind in REWARD_KINDS:
        return _load_reward_net(backbone, weights, locations)
    if backbone.kind == "safety":
        return _load_safety_net(backbone, weights, locations)
    from transformers import CLIPConfig, CLIPModel, CLIPTokenizer

    tokenizer = _repo_folder(backbone.tokenizer, TOKENIZER, locations)
    if backbone.kind == "openclip":
        with torch.device("meta"):
            module: Any = CLIPModel(CLIPConfig(**vit_h_14()))
        _load_weights(module, load_file(convert_weights(weights, from_openclip, locations)), backbone)
    else:
        folder = _repo_folder(str(backbone.weights.repo), ("config.json",), locations)
        with torch.device("meta"):
            module = CLIPModel(CLIPConfig.from_pretrained(folder))
        _load_weights(module, load_file(weights.path), backbone)
    is_openclip = backbone.kind == "openclip"
    tower = clip.Tower(
        module,
        CLIPTokenizer.from_pretrained(tokenizer),
        PREPROCESSING[backbone.pixels],
        clean_prompt if is_openclip else str,
        split_special_tokens=is_openclip,
    )
    return Network(module, tower=tower)


def _load_reward_net(backbone: Backbone, weights: LocalFile, locations: Locations) -> Network:
    from transformers import BertTokenizer

    with torch.device("meta"):
        module = blip.RewardNet(REWARD_KINDS[backbone.kind])
    _load_weights(module, load_file(convert_weights(weights, blip.from_blip, locations)), backbone)
    files = ("tokenizer_config.json", "tokenizer.json", "vocab.txt")
    tokenizer: Any = BertTokenizer.from_pretrained(_repo_folder(backbone.tokenizer, files, locations))

    @torch.no_grad()
    def reward(images: Sequence[Image], prompts: Sequence[str]) -> Tensor:
        parameter = next(module.parameters())
        tokens = tokenizer(
            list(prompts), padding="max_length", truncation=True, max_length=module.kind.tokens, return_tensors="pt"
        ).to(parameter.device)
        return module(clip_pixels(images).to(parameter), tokens.input_ids, tokens.attention_mask)

    return Network(module, reward=reward)


def _load_safety_net(backbone: Backbone, weights: LocalFile, locations: Locations) -> Network:
    from transformers import CLIPConfig

    folder = _repo_folder(str(backbone.weights.repo), ("config.json",), locations)
    with torch.device("meta"):
        module = safety.SafetyNet(CLIPConfig.from_pretrained(folder))
    _load_weights(module, safety.from_published(load_file(weights.path)), backbone)

    @torch.no_grad()
    def passes(images: Sequence[Image], prompts: Sequence[str]) -> Tensor:
        return module(clip_pixels(images).to(next(module.parameters())))

    return Network(module, reward=passes)


def _load_weights(module: Any, state: dict[str, Tensor], backbone: Backbone) -> None:
    """Load weights into a network on the meta device; names must match exactly."""
    known = set(module.state_dict())
    state = {name: t for name, t in state.items() if name in known or not name.endswith("embeddings.position_ids")}
    try:
        module.load_state_dict(state, strict=True, assign=True)
    except RuntimeError as error:
        raise ThumbtuneError(
            f"The weights of {backbone.name} ({backbone.weights.name}) do not fit its network: "
            f"{' '.join(str(error).split())[:200]}; download them again.",
            code="scorer-weights-mismatch",
        ) from error
    for name, buffer in list(module.named_buffers()):
        if buffer.is_meta:  # positions 0, 1, 2, ..., which files do not contain
            owner = module.get_submodule(name.rpartition(".")[0])
            owner.register_buffer(name.rpartition(".")[2], torch.arange(buffer.shape[-1]).expand(buffer.shape), False)
    module.eval()


def _repo_folder(repo: str, names: Sequence[str], locations: Locations) -> Path:
    """Return the folder of a repository's small files; only the first file is required."""
    folder = fetch(PublishedFile(names[0], repo), locations).path.parent
    if locations.local is None or not folder.is_relative_to(locations.local.expanduser()):
        for name in names[1:]:
            with suppress(ThumbtuneError):
                fetch(PublishedFile(name, repo), locations)
    return folder


def _make_scorer(
    published: PublishedScorer, network: Network, weights: LocalFile, locations: Locations
) -> NetworkScorer:
    revision = f"{weights.revision or 'local'}@{weights.sha256[:12]}"
    if network.reward is not None:
        return NetworkScorer(published.name, revision, published.preprocessing, network.reward)
    output = OUTPUTS.get(published.output)
    if published.line is not None:
        head = fetch(published.line, locations)
        output = clip.aesthetic(fold_to_linear_head(read_tensors(head.path)))
        revision = f"{revision}+{head.sha256[:12]}"
    assert output is not None and network.tower is not None
    tower, compute = network.tower, output
    return NetworkScorer(
        published.name, revision, published.preprocessing, lambda images, prompts: compute(tower, images, prompts)
    )
