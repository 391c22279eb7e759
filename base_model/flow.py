"""Train the small flow model: SD 3's transformer on the latents and text states of the bundled model.

The autoencoder and the text encoder are those of the bundled model and stay as they are. Both CLIP encoders of SD 3 are
that one text encoder. There is no T5; its place is one token of zeros, since `tokenizer_3` reads one token.
"""

import argparse
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    FlowMatchEulerDiscreteScheduler,
    SD3Transformer2DModel,
    StableDiffusion3Pipeline,
)
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from base_model import sets, training, training_images
from base_model.generator import encoded, learning_rate
from base_model.training import Plan
from base_model.vocabulary import CONCEPTS, LOOKS, SHOWN, Look, caption, held_out
from thumbtune.models.families.stable_diffusion_3 import StableDiffusion3
from thumbtune.models.process import FlowProcess

BUNDLED = Path("src/thumbtune/bundled/tiny-emoji-64")
KEPT = Path("base_model/flow.safetensors")  # the transformer alone: 9 MB, and no part of the package
WIDTH = 192  # of the bundled text encoder
TRANSFORMER = {
    "sample_size": 8,
    "patch_size": 1,
    "in_channels": 16,
    "out_channels": 16,
    "num_layers": 8,
    "num_attention_heads": 4,
    "attention_head_dim": 32,
    "caption_projection_dim": 128,
    "joint_attention_dim": 2 * WIDTH,
    "pooled_projection_dim": 2 * WIDTH,
    "pos_embed_max_size": 16,
    "qk_norm": "rms_norm",
}
DROPOUT = 0.1  # share of images without their prompt


def text_encoder(path: Path = BUNDLED) -> CLIPTextModelWithProjection:
    """Return the bundled text encoder; its projection leaves the pooled state as it is."""
    known = CLIPTextModel.from_pretrained(path / "text_encoder", dtype=torch.float32)
    config = CLIPTextConfig.from_pretrained(path / "text_encoder")
    made = CLIPTextModelWithProjection(config)
    # the two classes name the same weights alike, or with a prefix, by the version of transformers
    names = made.state_dict().keys()
    weights = {next(name for name in names if name.endswith(own)): one for own, one in known.state_dict().items()}
    made.load_state_dict(weights | {"text_projection.weight": torch.eye(config.hidden_size)})
    return made.float().eval()


def tokenizer(tokens: int | None = None, path: Path = BUNDLED) -> CLIPTokenizer:
    """Return the bundled tokenizer, which reads `tokens` of a text or as many as before."""
    made = CLIPTokenizer.from_pretrained(path / "tokenizer")
    made.model_max_length = tokens or made.model_max_length
    return made


def fresh(seed: int = 0) -> SD3Transformer2DModel:
    """Return a transformer whose blocks pass their inputs on, and which predicts 0: the start of DiT (2212.09748)."""
    torch.manual_seed(seed)
    network = SD3Transformer2DModel(**TRANSFORMER)  # type: ignore[arg-type]
    for name, module in network.named_modules():
        if name == "proj_out" or name.endswith(("norm1.linear", "norm1_context.linear", "norm_out.linear")):
            torch.nn.init.zeros_(module.weight)  # type: ignore[arg-type]
            torch.nn.init.zeros_(module.bias)  # type: ignore[arg-type]
    return network


def assembled(network: SD3Transformer2DModel) -> StableDiffusion3Pipeline:
    """Return a pipeline of a transformer and the bundled parts."""
    return StableDiffusion3Pipeline(
        transformer=network,
        scheduler=FlowMatchEulerDiscreteScheduler(shift=1.0),
        vae=AutoencoderKL.from_pretrained(BUNDLED / "vae", torch_dtype=torch.float32),
        text_encoder=text_encoder(),
        tokenizer=tokenizer(),
        text_encoder_2=text_encoder(),
        tokenizer_2=tokenizer(),
        text_encoder_3=None,
        tokenizer_3=tokenizer(1),
    )


class Lessons:
    """Batches of latents and conditions: what is drawn at a step depends on its number alone."""

    def __init__(self, data: Path, model: StableDiffusion3, batch: int, seed: int = 0) -> None:
        self.model, self.batch, self.seed = model, batch, seed
        emoji = sets.load(data)
        rows = [row for row in training_images.vocabulary(emoji, CONCEPTS) if not held_out(*row[:2])]
        images = [training_images.laid(icon, look) for *_, icon in rows for look in LOOKS]
        self.facts: list[tuple[str, str, Look]] = [(*row[:2], look) for row in rows for look in LOOKS]
        self.chances = torch.tensor([LOOKS[look] * SHOWN[style] for _, style, look in self.facts])
        vae = model.pipeline.vae
        self.latents = encoded(vae, training_images.to_tensor(images)) * vae.config.scaling_factor
        self._known: dict[str, dict[str, Tensor]] = {}

    def condition(self, texts: Sequence[str]) -> dict[str, Tensor]:
        """Return what the model is told of texts; each text is embedded once."""
        if new := sorted({*texts} - self._known.keys()):
            fields = self.model.embed(new)
            self._known |= {text: {name: fields[name][i] for name in fields} for i, text in enumerate(new)}
        return {name: torch.stack([self._known[text][name] for text in texts]) for name in ("text", "pooled")}

    def at(self, step: int) -> tuple[Tensor, Tensor, Tensor, dict[str, Tensor]]:
        """Return the clean latents, the noise, uniform numbers and the condition of a step."""
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + step)
        rng = random.Random(self.seed * 1_000_003 + step)
        rows = torch.multinomial(self.chances, self.batch, generator=generator)
        side = torch.randint(2, (self.batch,), generator=generator)
        texts = ["" if rng.random() < DROPOUT else caption(*self.facts[i], rng) for i in rows.tolist()]
        clean = self.latents[side, rows]
        noise = torch.randn(clean.shape, generator=generator)
        return clean, noise, torch.rand(self.batch, generator=generator), self.condition(texts)


def train(build: Path, plan: Plan) -> bool:
    """Train from the newest checkpoint, and return whether all steps are done."""
    process = FlowProcess()
    model = StableDiffusion3(assembled(fresh()))
    network: Any = model.network.requires_grad_(True).train()
    lessons = Lessons(build / "sets", model, plan.batch)

    def loss_at(step: int) -> Tensor:
        clean, noise, uniform, condition = lessons.at(step)
        t = process.times(uniform)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            guess = model.predict(process.noised(clean, noise, t), t, condition)
        return (guess.float() - process.target(clean, noise, t)).pow(2).mean()

    return training.train(network, plan, loss_at, lambda mean: "")


def keep(build: Path, name: str = "flow", file: Path = KEPT) -> None:
    """Write the averaged weights of a checkpoint in half precision, for `write` on machines that did not train."""
    network = training.load_averaged(fresh(), build / name)
    halves = {key: value.to(torch.float16).contiguous() for key, value in network.state_dict().items()}
    save_file(halves, file)


def write(out: Path, file: Path = KEPT) -> None:
    """Write the kept model as a folder of diffusers, in half precision."""
    network = fresh()
    network.load_state_dict({key: value.float() for key, value in load_file(file).items()})
    assembled(network).to(dtype=torch.float16).save_pretrained(out)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", type=Path, default=Path("build"), help="folder of the earlier parts")
    parser.add_argument("--name", default="flow", help="of the checkpoint in that folder")
    parser.add_argument("--steps", type=int, default=3500)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--minutes", type=float, help="stop, saved, after so long; the same command goes on")
    parser.add_argument("--keep", action="store_true", help=f"train nothing, and write the weights to {KEPT}")
    parser.add_argument(
        "--write", type=Path, help="train nothing, and write the kept model as a folder of diffusers here"
    )
    args = parser.parse_args()
    if args.keep or args.write:
        if args.keep:
            keep(args.build, args.name)
        if args.write:
            write(args.write)
        raise SystemExit
    plan = Plan(
        out=args.build / args.name,
        steps=args.steps,
        batch=args.batch,
        rate=lambda step: learning_rate(step, args.steps, args.lr),
        decay=0.998,
        weight_decay=1e-3,
        save_seconds=240,
        minutes=args.minutes,
    )
    train(args.build, plan)
