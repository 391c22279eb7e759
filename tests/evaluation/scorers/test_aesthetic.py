"""LAION's real heads on LAION's real embeddings; without them, the fold against the MLP."""

from pathlib import Path

import numpy as np
import pytest
import torch
from refusals import refused
from torch import nn

from thumbtune.evaluation.scorers.aesthetic import LinearHead, fold_to_linear_head
from thumbtune.evaluation.scorers.published_files import Locations, fetch
from thumbtune.evaluation.scorers.published_scorers import V1, V2
from thumbtune.evaluation.scorers.weights import read_tensors

REAL = Path(__file__).parents[4] / "shared" / "data" / "laion_aesthetic"
needs_real = pytest.mark.skipif(not REAL.is_dir(), reason="the heads and embeddings that LAION published are not here")


def mlp() -> nn.Sequential:
    """As published: five layers, with dropout after the first three."""
    wide = [nn.Linear(768, 1024), nn.Dropout(0.2), nn.Linear(1024, 128), nn.Dropout(0.2), nn.Linear(128, 64)]
    return nn.Sequential(*wide, nn.Dropout(0.1), nn.Linear(64, 16), nn.Linear(16, 1)).eval()


def test_the_mlp_folds_to_a_line() -> None:
    torch.manual_seed(0)
    net = mlp()
    line = fold_to_linear_head({f"layers.{name}": t for name, t in net.state_dict().items()})
    embedded = torch.randn(50, 768)
    with torch.no_grad():
        expected = net(nn.functional.normalize(embedded, dim=-1))[:, 0]
    assert line.weight.shape == (768,) and (line(embedded) - expected).abs().max() < 1e-6


def test_the_length_of_an_embedding_does_not_matter_and_its_direction_does() -> None:
    line = LinearHead(torch.tensor([3.0, 4.0]), torch.tensor(1.0))
    assert line(torch.tensor([[3.0, 4.0], [30.0, 40.0], [0.0, 2.0]])).tolist() == pytest.approx([6.0, 6.0, 5.0])


@pytest.mark.parametrize(
    ("state", "code"),
    [
        ({"layers.0.weight": torch.zeros(1024, 768)}, "scorer-weights-mismatch"),
        ({"head": torch.zeros(1)}, "scorer-weights-mismatch"),
        (
            {
                f"layers.{i}.{p}": torch.zeros(2, 2) if p == "weight" else torch.zeros(2)
                for i in (0, 3)
                for p in ("weight", "bias")
            },
            "scorer-weights-not-linear",
        ),
    ],
)
def test_other_weights_are_refused(state: dict[str, torch.Tensor], code: str) -> None:
    with refused(code, naming="aesthetic predictor"):
        fold_to_linear_head(state)


@needs_real
def test_the_real_heads_are_found_by_name_and_hash() -> None:
    for file in (V1, V2):
        found = fetch(file, Locations(local=REAL, offline=True))
        assert found.sha256 == file.sha256 and found.path == REAL / file.name


@needs_real
def test_the_real_v2_is_a_line() -> None:
    state = read_tensors(REAL / V2.name)
    net = mlp()
    net.load_state_dict({name.removeprefix("layers."): t for name, t in state.items()})
    line = fold_to_linear_head(state)
    embedded = nn.functional.normalize(torch.randn(200, 768), dim=-1)
    with torch.no_grad():
        assert (line(embedded) - net(embedded)[:, 0]).abs().max() < 5e-6
    assert line.bias.item() == pytest.approx(5.2366, abs=1e-3) and line.weight.norm().item() == pytest.approx(
        17.996, abs=2e-3
    )
    one = fold_to_linear_head(read_tensors(REAL / V1.name)).weight
    assert torch.cosine_similarity(one, line.weight, dim=0).item() == pytest.approx(0.37, abs=0.005)


@needs_real
@pytest.mark.parametrize(
    ("file", "folder"), [(V1.name, "vit_l_14_embeddings"), ("sa_0_4_vit_b_32_linear.pth", "vit_b_32_embeddings")]
)
def test_images_that_people_rated_higher_score_higher(file: str, folder: str) -> None:
    line = fold_to_linear_head(read_tensors(REAL / file))
    buckets = [
        line(torch.from_numpy(np.load(REAL / folder / f"rating{i}.npy")).float().reshape(1, -1))[0] for i in range(10)
    ]
    assert buckets[9] > buckets[0]
    ranks = torch.tensor(buckets).argsort().argsort().double()
    assert np.corrcoef(ranks, np.arange(10))[0, 1] > 0.9, [round(float(b), 2) for b in buckets]
