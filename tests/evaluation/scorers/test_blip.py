"""ImageReward's ViT and MLP written out with torch's own layers, against `RewardNet` with the mapped weights."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from thumbtune.evaluation.scorers import blip
from thumbtune.evaluation.scorers.blip import CYCLE_REWARD, IMAGE_REWARD, RewardKind, RewardNet, from_blip

VISION = {"hidden_size": 24, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
VISION |= {"image_size": 32, "patch_size": 16, "layer_norm_eps": 1e-6}
TEXT = {"vocab_size": 40, "hidden_size": 16, "encoder_hidden_size": 24, "intermediate_size": 32}
TEXT |= {"num_hidden_layers": 2, "num_attention_heads": 2, "layer_norm_eps": 1e-12, "is_decoder": True}
TEXT |= {"bos_token_id": 1, "eos_token_id": 2, "sep_token_id": 2, "pad_token_id": 0}


class ViTBlock(nn.Module):
    """A block of timm's ViT: one matrix for queries, keys and values."""

    def __init__(self, width: int, heads: int, wide: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width, eps=1e-6), nn.LayerNorm(width, eps=1e-6)
        self.attn = nn.ModuleDict({"qkv": nn.Linear(width, 3 * width), "proj": nn.Linear(width, width)})
        self.mlp = nn.ModuleDict({"fc1": nn.Linear(width, wide), "fc2": nn.Linear(wide, width)})

    def forward(self, x: Tensor) -> Tensor:
        b, n, d = x.shape
        q, k, v = self.attn["qkv"](self.norm1(x)).view(b, n, 3, self.heads, d // self.heads).permute(2, 0, 3, 1, 4)
        seen = nn.functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(b, n, d)
        x = x + self.attn["proj"](seen)
        return x + self.mlp["fc2"](nn.functional.gelu(self.mlp["fc1"](self.norm2(x))))


class ViT(nn.Module):
    """Every block with BLIP's names."""

    def __init__(self) -> None:
        super().__init__()
        self.cls_token, self.pos_embed = nn.Parameter(torch.randn(1, 1, 24)), nn.Parameter(torch.randn(1, 5, 24))
        self.patch_embed = nn.ModuleDict({"proj": nn.Conv2d(3, 24, 16, 16)})
        self.blocks = nn.ModuleList(ViTBlock(24, 4, 48) for _ in range(2))
        self.norm = nn.LayerNorm(24, eps=1e-6)

    def forward(self, pixels: Tensor) -> Tensor:
        x = self.patch_embed["proj"](pixels).flatten(2).transpose(1, 2)
        x = torch.cat([self.cls_token.expand(len(x), -1, -1), x], 1) + self.pos_embed
        for block in self.blocks:
            x = block(x)
        return self.norm(x)


def mlp(kind: RewardKind) -> nn.Sequential:
    """As published: dropout (which does nothing here) after three layers, or a GELU after four."""
    if kind.activation:
        layers = [nn.Linear(16, 1024), nn.GELU(), nn.Linear(1024, 128), nn.GELU(), nn.Linear(128, 64), nn.GELU()]
        return nn.Sequential(*layers, nn.Linear(64, 16), nn.GELU(), nn.Linear(16, 1))
    layers = [nn.Linear(16, 1024), nn.Dropout(0.2), nn.Linear(1024, 128), nn.Dropout(0.2), nn.Linear(128, 64)]
    return nn.Sequential(*layers, nn.Dropout(0.1), nn.Linear(64, 16), nn.Linear(16, 1))


def published(kind: RewardKind) -> tuple[dict[str, Tensor], ViT, nn.Sequential, Any]:
    """Weights under the published names, and the parts that they are of."""
    from transformers import BlipTextConfig, BlipTextModel

    torch.manual_seed(0)
    vit, head, text = ViT().eval(), mlp(kind).eval(), BlipTextModel(BlipTextConfig(**TEXT), add_pooling_layer=False)
    state = {f"blip.visual_encoder.{name}": t for name, t in vit.state_dict().items()}
    state |= {f"blip.text_encoder.{name}": t for name, t in text.state_dict().items()}
    state |= {"blip.text_encoder.embeddings.position_ids": torch.arange(512)[None]}
    state |= {"blip.vision_proj.weight": torch.ones(2, 2), "blip.text_proj.bias": torch.ones(2)}
    state |= {f"mlp.layers.{name}": t for name, t in head.state_dict().items()}
    return state, vit, head, text.eval()


@pytest.mark.parametrize("kind", [IMAGE_REWARD, CYCLE_REWARD], ids=["image-reward", "cycle-reward"])
def test_mapped_weights_compute_what_the_published_network_computes(kind: RewardKind) -> None:
    state, vit, head, text = published(kind)
    net = RewardNet(kind, VISION, TEXT)
    net.load_state_dict(from_blip(state), strict=True)
    net.eval()
    pixels, tokens = torch.randn(2, 3, 32, 32), torch.tensor([[1, 5, 6, 2, 0, 0], [1, 7, 8, 9, 10, 2]])
    mask = (tokens != 0).long()
    with torch.no_grad():
        seen = vit(pixels)
        assert (net.vision(pixel_values=pixels).last_hidden_state - seen).abs().max() < 1e-5
        read = text(input_ids=tokens, attention_mask=mask, encoder_hidden_states=seen).last_hidden_state[:, 0]
        expected = (head(read)[:, 0] - kind.mean) / kind.std
        assert (net(pixels, tokens, mask) - expected).abs().max() < 1e-6


def test_the_prompt_is_read_both_ways_and_the_image_is_looked_at() -> None:
    state, *_ = published(IMAGE_REWARD)
    net = RewardNet(IMAGE_REWARD, VISION, TEXT)
    net.load_state_dict(from_blip(state))
    net.eval()
    tokens = torch.tensor([[1, 5, 6, 2], [1, 5, 7, 2]])  # only the third differs: a causal first token cannot see it
    pixels = torch.randn(1, 3, 32, 32).expand(2, -1, -1, -1)
    with torch.no_grad():
        one, other = net(pixels, tokens, torch.ones_like(tokens))
        elsewhere = net(pixels.flip(-1), tokens, torch.ones_like(tokens))
    assert one != other and elsewhere[0] != one


def test_padding_changes_nothing() -> None:
    state, *_ = published(IMAGE_REWARD)
    net = RewardNet(IMAGE_REWARD, VISION, TEXT)
    net.load_state_dict(from_blip(state))
    net.eval()
    pixels, short, long = torch.randn(1, 3, 32, 32), torch.tensor([[1, 5, 2]]), torch.tensor([[1, 5, 2, 0, 0, 0]])
    with torch.no_grad():
        a, b = net(pixels, short, (short != 0).long()), net(pixels, long, (long != 0).long())
    assert a.item() == pytest.approx(b.item(), abs=1e-6)


def test_a_raw_reward_of_the_mean_is_0_and_one_deviation_above_it_is_1() -> None:
    assert (IMAGE_REWARD.mean, IMAGE_REWARD.std) == (0.16717362830052426, 1.0333394966054072)
    net = RewardNet(IMAGE_REWARD, VISION, TEXT).eval()
    last = net.head[7]
    assert isinstance(last, nn.Linear)
    nn.init.zeros_(last.weight)
    for raw, reward in ((IMAGE_REWARD.mean, 0.0), (IMAGE_REWARD.mean + IMAGE_REWARD.std, 1.0)):
        nn.init.constant_(last.bias, raw)
        with torch.no_grad():
            found = net(torch.randn(1, 3, 32, 32), torch.tensor([[1, 2]]), torch.ones(1, 2, dtype=torch.long))
        assert found.item() == pytest.approx(reward, abs=1e-6)


def test_at_its_true_size_the_network_has_as_many_weights_as_the_published_one() -> None:
    with torch.device("meta"):
        net = RewardNet(IMAGE_REWARD)
    assert sum(p.numel() for tower in (net.vision, net.text) for p in tower.parameters()) == pytest.approx(
        445.3e6, rel=1e-4
    )
    assert (blip.IMAGE_REWARD.tokens, blip.CYCLE_REWARD.tokens) == (35, 128)


def test_a_name_that_it_does_not_know_stays_and_so_is_refused_when_it_is_loaded() -> None:
    assert set(from_blip({"blip.visual_encoder.blocks.0.attn.rel_pos.weight": torch.zeros(1)})) == {
        "blip.visual_encoder.blocks.0.attn.rel_pos.weight"
    }
