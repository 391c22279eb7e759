"""benchmarks/scorers.py writes files under the published names, and runs from end to end at tiny size."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from benchmarks.scorers import TOGETHER, blip_name, checker_name, clip_shape, memory, openclip_shapes, table
from thumbtune.evaluation.scorers import blip
from thumbtune.evaluation.scorers.openclip import from_openclip, vit_h_14
from thumbtune.evaluation.scorers.safety import SafetyNet, from_published

ROOT = Path(__file__).parent.parent


def test_published_names_of_every_kind_lead_back_to_ours_at_true_size() -> None:
    """Nothing is allocated: names and shapes alone."""
    from transformers import CLIPConfig, CLIPModel

    with torch.device("meta"):
        clip = CLIPModel(CLIPConfig(**vit_h_14())).state_dict()
        theirs = {name: torch.empty(shape) for name, shape in openclip_shapes(vit_h_14()).items()}
        reward = blip.RewardNet(blip.IMAGE_REWARD).state_dict()
        checker = SafetyNet(CLIPConfig(**clip_shape(True, False))).state_dict()
    found = from_openclip(theirs)
    assert len(theirs) == 686 and {name: t.shape for name, t in found.items()} == {n: t.shape for n, t in clip.items()}
    names = [blip_name(name) for name in reward]
    assert list(blip.from_blip(dict.fromkeys(names, torch.empty(0)))) == list(reward)
    assert "blip.visual_encoder.blocks.3.attn.qkv.weight" in names and "mlp.layers.7.bias" in names
    names = [checker_name(name) for name in checker]
    assert list(from_published(dict.fromkeys(names, torch.empty(0)))) == list(checker)
    assert "vision_model.vision_model.embeddings.class_embedding" in names and "concept_embeds_weights" in names
    assert round(sum(t.numel() for t in checker.values()) / 1e6) == 304


def test_shapes_are_those_of_the_catalogue() -> None:
    from transformers import CLIPConfig, CLIPModel

    for large, size in ((True, 428), (False, 986)):
        with torch.device("meta"):
            clip = CLIPModel(CLIPConfig(**clip_shape(large, False)))
        assert round(sum(weight.numel() for weight in clip.parameters()) / 1e6) == size


@pytest.mark.slow
def test_it_runs_from_end_to_end_at_tiny_size(tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "benchmarks" / "scorers.py"), "--quick", "--out", str(tmp_path / "out.json")]
    done = subprocess.run(
        [*command, "--only", *TOGETHER, "hpsv2.1"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    facts = json.loads((tmp_path / "out.json").read_text())
    jobs = {tuple(each["scorers"]): each for each in facts["results"]}
    assert set(jobs) == {("aesthetic-v2",), ("aesthetic-v1",), ("clip-l14",), TOGETHER, ("hpsv2.1",)}
    assert jobs[TOGETHER]["looks"] == jobs[TOGETHER]["batches"] == 2
    assert jobs["hpsv2.1",]["first_load_seconds"] > 0 and "torch" in facts["environment"]["versions"]
    assert done.stdout.strip() == table(facts["results"])


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the kernel tells nothing")
def test_memory_is_the_kernels_word() -> None:
    peak, now = memory("VmHWM"), memory("VmRSS")
    assert peak is not None and now is not None and peak >= now > 50
