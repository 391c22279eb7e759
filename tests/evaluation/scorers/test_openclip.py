"""OpenCLIP's network written out with torch's own layers, against `CLIPModel` with the mapped weights."""

from typing import Any

import pytest
import torch
from refusals import refused
from torch import Tensor, nn

from thumbtune.evaluation.scorers.clip import embedding
from thumbtune.evaluation.scorers.openclip import from_openclip, vit_h_14

WIDTH, TEXT_WIDTH, JOINT, HEADS, WORDS, CONTEXT = 32, 24, 16, 4, 50, 7


class Block(nn.Module):
    """A residual block with OpenCLIP's names."""

    def __init__(self, width: int, wide: int) -> None:
        super().__init__()
        self.ln_1, self.ln_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attn = nn.MultiheadAttention(width, HEADS, batch_first=True)
        self.mlp = nn.Sequential()
        self.mlp.add_module("c_fc", nn.Linear(width, wide))
        self.mlp.add_module("gelu", nn.GELU())
        self.mlp.add_module("c_proj", nn.Linear(wide, width))

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        y = self.ln_1(x)
        x = x + self.attn(y, y, y, need_weights=False, attn_mask=mask)[0]
        return x + self.mlp(self.ln_2(x))


class Transformer(nn.Module):
    def __init__(self, width: int, layers: int) -> None:
        super().__init__()
        self.resblocks = nn.ModuleList(Block(width, 4 * width) for _ in range(layers))

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        for block in self.resblocks:
            x = block(x, mask)
        return x


class Visual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.class_embedding = nn.Parameter(torch.randn(WIDTH))
        self.conv1 = nn.Conv2d(3, WIDTH, 8, 8, bias=False)
        self.positional_embedding = nn.Parameter(torch.randn(17, WIDTH))
        self.ln_pre, self.ln_post = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.transformer = Transformer(WIDTH, 2)
        self.proj = nn.Parameter(torch.randn(WIDTH, JOINT))

    def forward(self, pixels: Tensor) -> Tensor:
        x = self.conv1(pixels).flatten(2).transpose(1, 2)
        x = torch.cat([self.class_embedding.expand(len(x), 1, -1), x], dim=1) + self.positional_embedding
        return self.ln_post(self.transformer(self.ln_pre(x))[:, 0]) @ self.proj


class OpenClip(nn.Module):
    """The text tower reads the place of the largest token, which is the end of the prompt."""

    def __init__(self) -> None:
        super().__init__()
        self.visual = Visual()
        self.token_embedding = nn.Embedding(WORDS, TEXT_WIDTH)
        self.positional_embedding = nn.Parameter(torch.randn(CONTEXT, TEXT_WIDTH))
        self.transformer = Transformer(TEXT_WIDTH, 3)
        self.ln_final = nn.LayerNorm(TEXT_WIDTH)
        self.text_projection = nn.Parameter(torch.randn(TEXT_WIDTH, JOINT))
        self.logit_scale = nn.Parameter(torch.tensor(4.6))

    def encode_text(self, tokens: Tensor) -> Tensor:
        mask = torch.full((CONTEXT, CONTEXT), -torch.inf).triu(1)
        x = self.ln_final(self.transformer(self.token_embedding(tokens) + self.positional_embedding, mask))
        return x[torch.arange(len(x)), tokens.argmax(-1)] @ self.text_projection


def as_transformers(state: dict[str, Tensor]) -> Any:
    from transformers import CLIPConfig, CLIPModel

    same = {"hidden_act": "gelu", "num_attention_heads": HEADS, "projection_dim": JOINT}
    vision = {"hidden_size": WIDTH, "intermediate_size": 4 * WIDTH, "num_hidden_layers": 2}
    text = {"hidden_size": TEXT_WIDTH, "intermediate_size": 4 * TEXT_WIDTH, "num_hidden_layers": 3}
    ends = {"eos_token_id": WORDS - 1, "bos_token_id": WORDS - 2, "pad_token_id": 0}
    config = CLIPConfig(
        projection_dim=JOINT,
        vision_config=vision | same | {"image_size": 32, "patch_size": 8},
        text_config=text | same | ends | {"vocab_size": WORDS, "max_position_embeddings": CONTEXT},
    )
    model = CLIPModel(config)
    model.load_state_dict(from_openclip(state), strict=True)
    return model.eval()


def test_mapped_weights_compute_what_openclip_computes() -> None:
    torch.manual_seed(0)
    theirs = OpenClip().eval()
    ours = as_transformers(theirs.state_dict())
    pixels = torch.randn(3, 3, 32, 32)
    tokens = torch.tensor([[48, 3, 4, 49, 0, 0, 0], [48, 7, 8, 9, 10, 11, 49]])
    with torch.no_grad():
        seen, read = theirs.visual(pixels), theirs.encode_text(tokens)
        assert (embedding(ours.get_image_features(pixel_values=pixels)) - seen).abs().max() < 1e-5 * seen.abs().max()
        assert (embedding(ours.get_text_features(input_ids=tokens)) - read).abs().max() < 1e-5 * read.abs().max()
        # directions, which are what scores are made of
        unit, unit_ours = (
            nn.functional.normalize(x, dim=-1) for x in (seen, embedding(ours.get_image_features(pixels)))
        )
        assert (unit - unit_ours).abs().max() < 1e-6


def test_at_the_size_of_hps_every_weight_has_its_place() -> None:
    """686 published tensors, 910 of `CLIPModel`: of no size but their shapes."""
    from transformers import CLIPConfig, CLIPModel

    with torch.device("meta"):
        wanted = {name: t.shape for name, t in CLIPModel(CLIPConfig(**vit_h_14())).state_dict().items()}
        published = published_shapes()
        found = {name: t.shape for name, t in from_openclip(published).items()}
    assert len(published) == 686
    assert found == wanted and len(found) == 910
    assert sum(shape.numel() for shape in found.values()) == 986_109_441


def published_shapes() -> dict[str, Tensor]:
    """The names and shapes of OpenCLIP's ViT-H/14, as its file holds them."""

    def blocks(prefix: str, width: int, wide: int, layers: int) -> dict[str, tuple[int, ...]]:
        one: dict[str, tuple[int, ...]] = {"attn.in_proj_weight": (3 * width, width), "attn.in_proj_bias": (3 * width,)}
        one |= {"attn.out_proj.weight": (width, width), "attn.out_proj.bias": (width,)}
        one |= {f"ln_{i}.{part}": (width,) for i in (1, 2) for part in ("weight", "bias")}
        one |= {"mlp.c_fc.weight": (wide, width), "mlp.c_fc.bias": (wide,)}
        one |= {"mlp.c_proj.weight": (width, wide), "mlp.c_proj.bias": (width,)}
        return {
            f"{prefix}transformer.resblocks.{i}.{name}": shape for i in range(layers) for name, shape in one.items()
        }

    shapes: dict[str, tuple[int, ...]] = {"logit_scale": (), "visual.class_embedding": (1280,)}
    shapes |= {"visual.conv1.weight": (1280, 3, 14, 14), "visual.positional_embedding": (257, 1280)}
    shapes |= {f"visual.{ln}.{part}": (1280,) for ln in ("ln_pre", "ln_post") for part in ("weight", "bias")}
    shapes |= {"visual.proj": (1280, 1024), "token_embedding.weight": (49408, 1024), "positional_embedding": (77, 1024)}
    shapes |= {"ln_final.weight": (1024,), "ln_final.bias": (1024,), "text_projection": (1024, 1024)}
    shapes |= blocks("visual.", 1280, 5120, 32) | blocks("", 1024, 4096, 24)
    return {name: torch.empty(shape) for name, shape in shapes.items()}


@pytest.mark.parametrize(
    "name", ["visual.head.weight", "transformer.resblocks.0.attn.qkv.weight", "module.logit_scale"]
)
def test_a_name_that_no_openclip_has_is_refused(name: str) -> None:
    with refused("scorer-weights-mismatch", naming=repr(name)):
        from_openclip({name: torch.zeros(1)})


def test_embeddings_of_both_forms_are_read() -> None:
    from types import SimpleNamespace

    one = torch.ones(2, 3)
    assert embedding(one) is one and embedding(SimpleNamespace(pooler_output=one)) is one
