"""The cost of scoring: every published scorer at its real size, with random weights, through the real loading path.

    python benchmarks/scorers.py                                          all, one after another
    python benchmarks/scorers.py --only pickscore safe --dtype bfloat16   some, in halves

Weights are written as published (names and file format) into a temporary folder of up to 8 GB. Each step runs in its
own process; the kernel reports its peak resident memory (on Linux). The files were just written, so they are read from
the disk's cache: a first load after a reboot takes longer. Random weights cost the same as real ones; their scores have
no meaning. Words are split into letters, so that these short prompts have as many tokens as prompts of ten words. It
prints a table, and updates its results in benchmarks/scorers.json.
"""

import argparse
import json
import math
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

FILE = Path(__file__).with_suffix(".json")
TOGETHER = ("aesthetic-v2", "aesthetic-v1", "clip-l14")
PROMPTS = ["a red fox", "two cats", "an old boat", "a blue door"]
SIDE = 512
WORDS, BERT_WORDS = 49_408, 30_522
STARTS, ENDS = "<|startoftext|>", "<|endoftext|>"
TINY = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
Shapes = dict[str, tuple[int, ...]]


# --- shapes


def clip_shape(large: bool, quick: bool) -> dict[str, Any]:
    """Return arguments of `CLIPConfig`: OpenAI's ViT-L/14 or ViT-H/14; tiny ones for --quick."""
    from thumbtune.evaluation.scorers.openclip import vit_h_14

    if quick:
        vision = TINY | {"image_size": 224, "patch_size": 56, "projection_dim": 768}
        return {"projection_dim": 768, "vision_config": vision, "text_config": TINY | {"projection_dim": 768}}
    if not large:
        return vit_h_14()
    vision = {"hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24, "num_attention_heads": 16}
    text = {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12}
    vision |= {"image_size": 224, "patch_size": 14, "projection_dim": 768}
    return {"projection_dim": 768, "vision_config": vision, "text_config": text | {"projection_dim": 768}}


def openclip_shapes(shape: Mapping[str, Any]) -> Shapes:
    """Return OpenCLIP's names and shapes of a ViT's weights; its projections are transposed."""
    vision, text, joint = shape["vision_config"], shape["text_config"], shape["projection_dim"]
    wide, narrow, patch = vision["hidden_size"], text["hidden_size"], vision["patch_size"]
    found: Shapes = {
        "logit_scale": (),
        "visual.class_embedding": (wide,),
        "visual.conv1.weight": (wide, 3, patch, patch),
        "visual.positional_embedding": ((vision["image_size"] // patch) ** 2 + 1, wide),
        "visual.proj": (wide, joint),
        "token_embedding.weight": (WORDS, narrow),
        "positional_embedding": (77, narrow),
        "text_projection": (narrow, joint),
    }
    for name, width in (("visual.ln_pre", wide), ("visual.ln_post", wide), ("ln_final", narrow)):
        found |= {f"{name}.weight": (width,), f"{name}.bias": (width,)}
    for side, part in (("visual.", vision), ("", text)):
        for i in range(part["num_hidden_layers"]):
            found |= _block(f"{side}transformer.resblocks.{i}", part["hidden_size"], part["intermediate_size"])
    return found


def _block(name: str, width: int, inner: int) -> Shapes:
    linear = {"attn.out_proj": (width, width), "mlp.c_fc": (inner, width), "mlp.c_proj": (width, inner)}
    found: Shapes = {f"{name}.attn.in_proj_weight": (3 * width, width), f"{name}.attn.in_proj_bias": (3 * width,)}
    for layer, shape in linear.items():
        found |= {f"{name}.{layer}.weight": shape, f"{name}.{layer}.bias": shape[:1]}
    for norm in ("ln_1", "ln_2"):
        found |= {f"{name}.{norm}.weight": (width,), f"{name}.{norm}.bias": (width,)}
    return found


def blip_name(ours: str) -> str:
    """Return the published name of a weight of `RewardNet`."""
    if not ours.startswith("vision."):
        return ours.replace("text.", "blip.text_encoder.", 1).replace("head.", "mlp.layers.", 1)
    for new, old in (
        ("vision.", "blip.visual_encoder."),
        ("embeddings.class_embedding", "cls_token"),
        ("embeddings.position_embedding", "pos_embed"),
        ("embeddings.patch_embedding", "patch_embed.proj"),
        ("post_layernorm", "norm"),
        ("encoder.layers", "blocks"),
        ("layer_norm", "norm"),
        ("self_attn.projection", "attn.proj"),
        ("self_attn", "attn"),
    ):
        ours = ours.replace(new, old, 1)
    return ours


def checker_name(ours: str) -> str:
    """Return the published name of a weight of `SafetyNet`."""
    return ours.replace("clip.vision_model.", "vision_model.vision_model.").removeprefix("clip.")


# --- files


def write(folder: Path, backbone: Any, quick: bool) -> int:
    """Write a backbone's files as published with random weights, and return its number of parameters."""
    import torch

    torch.manual_seed(0)
    home = folder / str(backbone.weights.repo)
    home.mkdir(parents=True, exist_ok=True)
    shapes, config = _published(backbone, quick)
    if config is not None:
        config.save_pretrained(home)
    state = {name: _random(name, shape) for name, shape in shapes.items()}
    count = sum(tensor.numel() for tensor in state.values())
    if backbone.kind == "openclip":  # assumed to be half precision, because its name contains "compressed"
        _save({"state_dict": {name: tensor.half() for name, tensor in state.items()}}, home / backbone.weights.name)
    else:
        _save(state, home / backbone.weights.name)
    _write_words(folder, backbone)
    _write_heads(folder)
    return count


def _published(backbone: Any, quick: bool) -> tuple[Shapes, Any]:
    """Return names and shapes of the published weights, and the published configuration, if there is one."""
    import torch
    from transformers import CLIPConfig, CLIPModel

    from thumbtune.evaluation.scorers import blip, loading, safety

    shape = clip_shape(backbone.name in ("clip-l14", "safety-checker"), quick)
    if backbone.kind == "openclip":
        return openclip_shapes(shape), None
    with torch.device("meta"):
        if backbone.kind in loading.REWARD_KINDS:
            net: Any = blip.RewardNet(loading.REWARD_KINDS[backbone.kind])
            return {blip_name(name): tuple(t.shape) for name, t in net.state_dict().items()}, None
        config = CLIPConfig(**shape)
        if backbone.kind == "safety":
            net = safety.SafetyNet(config)
            return {checker_name(name): tuple(t.shape) for name, t in net.state_dict().items()}, config
        return {name: tuple(t.shape) for name, t in CLIPModel(config).state_dict().items()}, config


def _random(name: str, shape: tuple[int, ...]) -> Any:
    """Return random weights that neither overflow nor vanish in a network."""
    import torch

    if name == "logit_scale":
        return torch.tensor(4.6)
    if name.endswith("weight") and len(shape) == 1:  # of a normalisation
        return torch.ones(shape)
    return torch.empty(shape).normal_(0, 0.02)


def _save(state: dict[str, Any], path: Path) -> None:
    import torch
    from safetensors.torch import save_file

    if path.suffix == ".safetensors":
        save_file(state, path, metadata={"format": "pt"})
    else:
        torch.save(state, path)


def _write_words(folder: Path, backbone: Any) -> None:
    """Write a tokenizer of letters with as many entries as the real one."""
    from string import ascii_lowercase

    from transformers import BertTokenizer, CLIPTokenizer

    if not backbone.tokenizer:
        return
    home = folder / backbone.tokenizer
    if "bert" in backbone.tokenizer:
        words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *ascii_lowercase, *(f"##{x}" for x in ascii_lowercase)]
        words += [f"[unused{i}]" for i in range(BERT_WORDS - len(words))]
        (folder / "vocab.txt").write_text("\n".join(words), encoding="utf-8")
        BertTokenizer(str(folder / "vocab.txt")).save_pretrained(home)
        return
    words = [*ascii_lowercase, *(f"{x}</w>" for x in ascii_lowercase)]
    words += [*(f"unused{i}" for i in range(WORDS - len(words) - 2)), STARTS, ENDS]
    CLIPTokenizer(vocab={word: i for i, word in enumerate(words)}, merges=[]).save_pretrained(home)


def _write_heads(folder: Path) -> None:
    """Write both aesthetic predictors, the second as an MLP as published."""
    import torch

    from thumbtune.evaluation.scorers.published_scorers import V1, V2

    torch.save({"weight": torch.randn(1, 768), "bias": torch.ones(1)}, folder / V1.name)
    state = {}
    for layer, wide, narrow in ((0, 768, 1024), (2, 1024, 128), (4, 128, 64), (6, 64, 16), (7, 16, 1)):
        state |= {
            f"layers.{layer}.weight": torch.randn(narrow, wide) / wide**0.5,
            f"layers.{layer}.bias": torch.ones(narrow),
        }
    torch.save(state, folder / V2.name)


# --- steps, each in a process of its own


def prepare(quick: bool) -> None:
    """Accept heads of any hash in this process, and make networks tiny with --quick."""
    from thumbtune.evaluation.scorers import blip, loading
    from thumbtune.evaluation.scorers.published_scorers import PUBLISHED_SCORERS

    for name, entry in PUBLISHED_SCORERS.items():
        if entry.line is not None:
            PUBLISHED_SCORERS[name] = replace(entry, line=replace(entry.line, sha256=None))
    if quick:
        loading.vit_h_14 = lambda: clip_shape(False, quick)
        blip.VISION |= TINY | {"patch_size": 56}
        blip.TEXT |= TINY | {"encoder_hidden_size": 16}


def written(folder: Path, names: Sequence[str], quick: bool) -> dict[str, Any]:
    """Write a backbone; if its file needs conversion, convert it, and return the seconds of that first load."""
    from thumbtune.evaluation.scorers.published_scorers import PUBLISHED_SCORERS

    backbone = PUBLISHED_SCORERS[names[0]].backbone
    parameters = write(folder, backbone, quick)
    if backbone.kind in ("clip", "safety"):
        return {"parameters": parameters}
    _, seconds, _ = _loaded(folder, names, "float32")
    return {"parameters": parameters, "first_load_seconds": seconds}


def scored(folder: Path, names: Sequence[str], dtype: str) -> dict[str, Any]:
    """Load scorers, score four images, free their memory; return seconds, MB, and runs of the image tower."""
    looks = _count_looks()
    images = list(_images())
    group, load, scorers = _loaded(folder, names, dtype)
    begun, used = time.perf_counter(), time.process_time()
    values = [scorer.score(images, PROMPTS).tolist() for scorer in scorers]
    seconds, cpu = time.perf_counter() - begun, time.process_time() - used
    batches = 1
    if len(names) > 1:  # a second batch distinguishes one run per batch from one run in all
        values += [scorer.score(images[::-1], PROMPTS).tolist() for scorer in scorers]
        batches = 2
    assert all(map(math.isfinite, chain(*values))), values
    group.__exit__(None, None, None)
    return {
        "load_seconds": load,
        "seconds": seconds,
        "cpu_seconds": cpu,  # over all threads; other processes change it less
        "peak_mb": memory("VmHWM"),
        "after_mb": memory("VmRSS"),
        "batches": batches,
        "looks": len(looks),
    }


def _loaded(folder: Path, names: Sequence[str], dtype: str) -> tuple[Any, float, Any]:
    """Return the group's entered context, the seconds of entering it, and its scorers."""
    import torch
    import transformers

    from thumbtune.evaluation.scorers.published_files import Locations
    from thumbtune.evaluation.scorers.resolve import LoadOptions, resolve_scorers

    for name in ("BertTokenizer", "BlipTextModel", "BlipVisionModel", "CLIPModel", "CLIPTokenizer"):
        getattr(transformers, name)  # so that its import is not measured
    locations = Locations(cache=folder / "cache", local=folder, offline=True)
    (group,) = resolve_scorers(names, LoadOptions(Path(), locations, dtype=getattr(torch, dtype)))
    begun = time.perf_counter()
    context = group.load()
    scorers = context.__enter__()
    return context, time.perf_counter() - begun, scorers


def _count_looks() -> list[int]:
    """Return a list that grows by one whenever CLIP's image tower runs."""
    from transformers import CLIPModel

    looks: list[int] = []
    real = CLIPModel.get_image_features
    CLIPModel.get_image_features = lambda self, *a, **k: (looks.append(1), real(self, *a, **k))[1]  # type: ignore
    return looks


def _images() -> Iterator[Any]:
    from PIL import Image

    for i in range(len(PROMPTS)):
        yield Image.effect_mandelbrot((SIDE, SIDE), (-2, -1.5, 1, 1.5), 20 + 10 * i).convert("RGB")


def memory(what: str) -> float | None:
    """Return VmHWM, the peak resident memory of this process, or VmRSS, its current value, in MB; None if unknown.

    The peak of `getrusage` includes that of the parent.
    """
    if not (status := Path("/proc/self/status")).exists():
        return None
    lines = status.read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) * 1024 / 1e6 for line in lines if line.startswith(f"{what}:"))


def measure(names: Sequence[str], dtype: str, quick: bool) -> list[dict[str, Any]]:
    """Return the results of every job of one backbone, on temporary files that are written once."""
    from thumbtune.evaluation.scorers.published_scorers import PUBLISHED_SCORERS

    size = PUBLISHED_SCORERS[names[0]].backbone.size  # in millions, of 4 bytes each, published and converted
    need, free = (0 if quick else 2 * 4e6 * size + 2e9), shutil.disk_usage(tempfile.gettempdir()).free
    if free < need:
        sys.exit(
            f"{names[0]} needs {need / 1e9:.0f} GB in {tempfile.gettempdir()}, which has {free / 1e9:.0f}; set TMPDIR."
        )
    jobs = [(name,) for name in names] + ([TOGETHER] if set(TOGETHER) <= set(names) else [])
    with tempfile.TemporaryDirectory(prefix="thumbtune-bench-") as folder:
        options = ["--folder", folder, "--dtype", dtype, *(["--quick"] if quick else [])]
        facts = _child("write", names[:1], options)
        found = []
        for job in jobs:
            found.append({"scorers": list(job), "dtype": dtype} | facts | _child("score", job, options))
            print(json.dumps(found[-1]), file=sys.stderr, flush=True)
    return found


def _child(step: str, names: Sequence[str], options: Sequence[str]) -> dict[str, Any]:
    words = [sys.executable, __file__, "--step", step, "--only", *names, *options]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{step} {', '.join(names)} failed: {done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def table(results: Sequence[Mapping[str, Any]]) -> str:
    """Return the results as a Markdown table."""
    lines = [
        "| scorer | type | parameters, M | first load, s | load, s | 4 images, s | CPU, s | peak, MB | freed, MB "
        "| looks / batches |",
        "|" + " --- |" * 10,
    ]
    for r in results:
        first = f"{r['first_load_seconds']:.1f}" if "first_load_seconds" in r else ""
        peak, after = (f"{r[name]:,.0f}" if r[name] is not None else "" for name in ("peak_mb", "after_mb"))
        looks = f"{r['looks']} / {r['batches']}" if r["looks"] else ""
        lines.append(
            f"| {', '.join(r['scorers'])} | {r['dtype']} | {r['parameters'] / 1e6:,.0f} | {first} "
            f"| {r['load_seconds']:.1f} | {r['seconds']:.1f} | {r['cpu_seconds']:.1f} | {peak} | {after} | {looks} |"
        )
    return "\n".join(lines)


def parse_arguments() -> argparse.Namespace:
    """Return the parsed command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", metavar="NAME", help="Measure only these scorers.")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--quick", action="store_true", help="Use tiny networks, only to show that it runs.")
    parser.add_argument("--out", type=Path, help="File of results. Default: scorers.json, or none with --quick.")
    parser.add_argument("--step", choices=("write", "score"), help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    """Parse, measure, print."""
    given = parse_arguments()
    if given.step:
        prepare(given.quick)
        step = written(given.folder, given.only, given.quick) if given.step == "write" else None
        print(json.dumps(step or scored(given.folder, given.only, given.dtype)))
        return
    from thumbtune.evaluation.scorers.published_scorers import PUBLISHED_SCORERS, find_published_scorers
    from thumbtune.runs.run import environment

    asked = find_published_scorers(given.only or PUBLISHED_SCORERS)
    out = given.out or (None if given.quick else FILE)
    known = json.loads(out.read_text(encoding="utf-8"))["results"] if out and out.exists() else []
    results = {(*each["scorers"], each["dtype"]): each for each in known}
    for backbone in dict.fromkeys(entry.backbone for entry in asked):
        names = [entry.name for entry in asked if entry.backbone == backbone]
        for each in measure(names, given.dtype, given.quick):
            results[*each["scorers"], each["dtype"]] = each
        facts = {"environment": environment(), "platform": platform.platform(), "results": list(results.values())}
        if out:
            out.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    print(table(list(results.values())))


if __name__ == "__main__":
    main()
