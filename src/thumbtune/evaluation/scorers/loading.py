"""From a name to a scorer: one backbone in memory at a time, all that read off it with it.

with loaded(entries) as scorers:  scorers[i].score(images, prompts) -> [n]
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
from thumbtune.evaluation.scorers.aesthetic import line_of
from thumbtune.evaluation.scorers.catalogue import TOKENIZER, Backbone, Entry
from thumbtune.evaluation.scorers.openclip import from_openclip, vit_h_14
from thumbtune.evaluation.scorers.pixels import clip_pixels, hps_pixels
from thumbtune.evaluation.scorers.published import File, Found, Places, fetch, here
from thumbtune.evaluation.scorers.reading import cleaned
from thumbtune.evaluation.scorers.weights import converted, tensors_in

PIXELS = {"clip": clip_pixels, "hps": hps_pixels}
READS: dict[str, Callable[..., Tensor]] = {"percent": clip.percent, "scaled": clip.scaled, "cosine": clip.cosines}
KINDS = {"image-reward": blip.IMAGE_REWARD, "cycle-reward": blip.CYCLE_REWARD}


@dataclass(frozen=True)
class Read:
    """A scorer that reads off a network."""

    id: str
    revision: str
    preprocessing: str
    read: Callable[[Sequence[Image], Sequence[str]], Tensor]

    def score(self, images: Sequence[Image], prompts: Sequence[str]) -> Float[Tensor, "n"]:
        """One number for each image, in float32 on the CPU."""
        if len(images) != len(prompts):
            raise ThumbtuneError(f"{self.id} got {len(images)} images and {len(prompts)} prompts; give one for each.")
        return self.read(images, prompts).float().cpu() if images else torch.empty(0)


@contextmanager
def loaded(
    asked: Sequence[Entry], places: Places | None = None, device: str = "cpu", dtype: torch.dtype = torch.float32
) -> Iterator[list[Read]]:
    """The scorers, which share one backbone, for as long as the block lasts; its memory is free after it.

    Raises:
        ThumbtuneError: weights are missing, are others than they should be, or do not fit.
    """
    places = places or Places()
    backbone = asked[0].backbone
    if any(entry.backbone != backbone for entry in asked):
        raise ThumbtuneError("Scorers of several backbones cannot be loaded at once; load them one after another.")
    found = fetch(backbone.weights, places)
    network = _network(backbone, found, places)
    network.module.to(device=device, dtype=dtype)
    try:
        scorers = [_scorer(entry, network, found, places) for entry in asked]
        how = "" if dtype == torch.float32 else f"/{str(dtype).removeprefix('torch.')}"  # halves give other numbers
        yield [replace(scorer, revision=scorer.revision + how) for scorer in scorers]
    finally:
        network.module.to("meta")  # whoever still holds a scorer, the next one's caller above all, holds no weights
        del network
        gc.collect()
        if device.startswith("cuda"):
            torch.cuda.empty_cache()


def fetched(asked: Sequence[Entry], places: Places) -> None:
    """See that the weights are here, before anybody draws for hours; what they are is looked at when they are loaded.

    Raises:
        ThumbtuneError: a file is not here and cannot be had; it names the scorer.
    """
    for entry in asked:
        try:
            for file in (entry.backbone.weights, entry.line):
                if file is not None:
                    here(file, places)
        except ThumbtuneError as error:
            raise ThumbtuneError(f"{entry.name}: {error}") from error


@dataclass
class Network:
    """A backbone in memory: a tower that several read off, or a net that gives its number at once."""

    module: Any
    tower: clip.Tower | None = None
    reward: Callable[[Sequence[Image], Sequence[str]], Tensor] | None = None


def _network(backbone: Backbone, found: Found, places: Places) -> Network:
    """The network with its weights, in evaluation mode."""
    if backbone.kind in KINDS:
        return _reward_net(backbone, found, places)
    if backbone.kind == "safety":
        return _safety_net(backbone, found, places)
    from transformers import CLIPConfig, CLIPModel, CLIPTokenizer

    words = _folder_of(backbone.words, TOKENIZER, places)
    if backbone.kind == "openclip":
        with torch.device("meta"):
            module: Any = CLIPModel(CLIPConfig(**vit_h_14()))
        _put(module, load_file(converted(found, from_openclip, places)), backbone)
    else:
        folder = _folder_of(str(backbone.weights.repo), ("config.json",), places)
        with torch.device("meta"):
            module = CLIPModel(CLIPConfig.from_pretrained(folder))
        _put(module, load_file(found.path), backbone)
    ours = backbone.kind == "openclip"
    tower = clip.Tower(
        module,
        CLIPTokenizer.from_pretrained(words),
        PIXELS[backbone.pixels],
        cleaned if ours else str,
        whole_words=ours,
    )
    return Network(module, tower=tower)


def _reward_net(backbone: Backbone, found: Found, places: Places) -> Network:
    from transformers import BertTokenizer

    with torch.device("meta"):
        module = blip.RewardNet(KINDS[backbone.kind])
    _put(module, load_file(converted(found, blip.from_blip, places)), backbone)
    files = ("tokenizer_config.json", "tokenizer.json", "vocab.txt")
    tokenizer: Any = BertTokenizer.from_pretrained(_folder_of(backbone.words, files, places))

    @torch.no_grad()
    def reward(images: Sequence[Image], prompts: Sequence[str]) -> Tensor:
        place = next(module.parameters())
        tokens = tokenizer(
            list(prompts), padding="max_length", truncation=True, max_length=module.kind.tokens, return_tensors="pt"
        ).to(place.device)
        return module(clip_pixels(images).to(place), tokens.input_ids, tokens.attention_mask)

    return Network(module, reward=reward)


def _safety_net(backbone: Backbone, found: Found, places: Places) -> Network:
    from transformers import CLIPConfig

    folder = _folder_of(str(backbone.weights.repo), ("config.json",), places)
    with torch.device("meta"):
        module = safety.SafetyNet(CLIPConfig.from_pretrained(folder))
    _put(module, safety.from_published(load_file(found.path)), backbone)

    @torch.no_grad()
    def passes(images: Sequence[Image], prompts: Sequence[str]) -> Tensor:
        return module(clip_pixels(images).to(next(module.parameters())))

    return Network(module, reward=passes)


def _put(module: Any, state: dict[str, Tensor], backbone: Backbone) -> None:
    """Weights into a network that was built without any; all of them, and no others."""
    known = set(module.state_dict())
    state = {name: t for name, t in state.items() if name in known or not name.endswith("embeddings.position_ids")}
    try:
        module.load_state_dict(state, strict=True, assign=True)
    except RuntimeError as error:
        raise ThumbtuneError(
            f"The weights of {backbone.name} ({backbone.weights.name}) do not fit its network: "
            f"{' '.join(str(error).split())[:200]}; fetch them again."
        ) from error
    for name, buffer in list(module.named_buffers()):
        if buffer.is_meta:  # positions 0, 1, 2, ..., which no file holds
            owner = module.get_submodule(name.rpartition(".")[0])
            owner.register_buffer(name.rpartition(".")[2], torch.arange(buffer.shape[-1]).expand(buffer.shape), False)
    module.eval()


def _folder_of(repo: str, names: Sequence[str], places: Places) -> Path:
    """The folder in which a repository's small files lie. The first is always there, the others as it was published."""
    folder = fetch(File(names[0], repo), places).path.parent
    if places.local is None or not folder.is_relative_to(places.local.expanduser()):
        for name in names[1:]:
            with suppress(ThumbtuneError):
                fetch(File(name, repo), places)
    return folder


def _scorer(entry: Entry, network: Network, found: Found, places: Places) -> Read:
    revision = f"{found.revision or 'local'}@{found.sha256[:12]}"
    if network.reward is not None:
        return Read(entry.name, revision, entry.preprocessing, network.reward)
    read = READS.get(entry.reads)
    if entry.line is not None:
        head = fetch(entry.line, places)
        read, revision = clip.along(line_of(tensors_in(head.path))), f"{revision}+{head.sha256[:12]}"
    assert read is not None and network.tower is not None
    tower, how = network.tower, read
    return Read(entry.name, revision, entry.preprocessing, lambda images, prompts: how(tower, images, prompts))
