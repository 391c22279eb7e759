"""The model card of a run, as Hugging Face reads it: a header in YAML, and what was trained, on what, how well.

`text_of(facts_of(run))` is README.md beside the tuned weights. It names no rater, no store and no folder of this
machine. The prompts that it shows are those of its images.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from thumbtune import hub
from thumbtune.errors import ThumbtuneError, plural
from thumbtune.evaluation.duel_folder import DuelFolder, is_duel, read_duel
from thumbtune.feedback.policies import combined_raters
from thumbtune.models.families import adapter_class_of
from thumbtune.models.pipeline_files import index_of
from thumbtune.plugins import is_own
from thumbtune.runs import build, given_feedback, given_model, run
from thumbtune.runs.bundled_base import is_bundled_model
from thumbtune.runs.bundled_words import MODEL
from thumbtune.runs.lora_about import method_of, name_of
from thumbtune.runs.recipe import Recipe
from thumbtune.training import records

EVALUATION = "evaluation"
OTHER_LICENSE = "license-of-the-base-model"
LORA_TAGS = ("lora", "template:diffusion-lora")
SECOND = "pytorch_lora_weights_2.safetensors"  # of a model with two networks
DTYPES = {None: "float32", "bf16": "bfloat16", "fp16": "float16"}


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What the card of one run tells.

    result: the folder of the tuned weights
    repo: where the weights will be on the hub; None: in the folder of the card
    images: (prompt, path beside the card, image of the base on the left and of the tuned model on the right)
    duel: the evaluation, or None
    """

    run: Path
    recipe: Recipe
    result: Path
    repo: str | None
    images: Sequence[tuple[str, str]]
    duel: DuelFolder | None

    @property
    def base(self) -> str:
        """Return the name of the base that others may know."""
        return name_of(self.recipe.model)

    @property
    def is_lora(self) -> bool:
        """Return whether the result is a LoRA, and not a whole network."""
        return self.recipe.train.weights == "lora"


def facts_of(folder: Path, images: Sequence[tuple[str, str]] = (), repo: str | None = None) -> Facts:
    """Return what the card of a run with a result tells.

    Raises:
        UsageError: the folder is no run.
        ThumbtuneError: a file of the run cannot be read.
    """
    recipe = run.recipe_in(folder)
    return Facts(
        run=folder,
        recipe=recipe,
        result=(folder / build.result_in(folder, recipe)).parent,
        repo=repo,
        images=images,
        duel=evaluation_of(folder),
    )


def evaluation_of(folder: Path) -> DuelFolder | None:
    """Return the evaluation of a run with a verdict; None without one, or if it cannot be read."""
    try:
        duel = read_duel(folder / EVALUATION) if is_duel(folder / EVALUATION) else None
    except ThumbtuneError:  # `evaluate` and `report` tell what is wrong with it
        return None
    return duel if duel is not None and duel.verdict is not None else None


def text_of(facts: Facts) -> str:
    """Return the card."""
    header = yaml.safe_dump(header_of(facts), sort_keys=False, allow_unicode=True, width=1000)
    parts = [f"---\n{header}---", *_parts(facts)]
    return "\n\n".join(parts) + "\n"


def header_of(facts: Facts) -> dict[str, Any]:
    """Return the header of the card. A base that is not on the hub stays out of it: the hub takes its ids alone."""
    kind = "text-to-video" if facts.recipe.frames > 1 else "text-to-image"
    header: dict[str, Any] = {}
    if hub.is_hub_id(facts.recipe.model):
        header["base_model"] = facts.recipe.model
        header["base_model_relation"] = "adapter" if facts.is_lora else "finetune"
    header |= {"library_name": "diffusers", **license_of(facts.recipe.model), "pipeline_tag": kind}
    own = LORA_TAGS if facts.is_lora else ()
    objective = facts.recipe.objective.name
    method = () if is_own(objective) else (objective,)
    header["tags"] = [kind, "diffusers", *own, "thumbtune", "preference", *method]
    if prefix := run.prompt_prefix_of(facts.run):
        header["instance_prompt"] = prefix
    if facts.images:
        header["widget"] = [{"text": prompt, "output": {"url": file}} for prompt, file in facts.images]
    return header


def license_of(model: str) -> dict[str, str]:
    """Return the licence that a base passes on: of its own card, or else `other` with a name that says whose it is."""
    if is_bundled_model(model):
        return {"license": "apache-2.0"}
    is_on_hub = hub.is_hub_id(model)
    card = hub.settings_file(model, "README.md") if is_on_hub else Path(model) / "README.md"
    told = _header_in(card) if card is not None and card.is_file() else {}
    named = {
        name: told[name] for name in ("license", "license_name", "license_link") if isinstance(told.get(name), str)
    }
    if "license" in named:
        return named
    link = {"license_link": f"https://huggingface.co/{model}"} if is_on_hub else {}
    return {"license": "other", "license_name": OTHER_LICENSE, **link}


def _header_in(card: Path) -> Mapping[str, Any]:
    """Return the header of a card; empty if it has none, or it cannot be read."""
    try:
        parts = card.read_text(encoding="utf-8").split("---\n", 2)
        header = yaml.safe_load(parts[1]) if len(parts) > 2 and not parts[0].strip() else None  # noqa: PLR2004
    except (OSError, ValueError, yaml.YAMLError):
        return {}
    return header if isinstance(header, Mapping) else {}


def _parts(facts: Facts) -> Iterator[str]:
    """Yield the parts below the header."""
    what = "A LoRA" if facts.is_lora else f"The {facts.result.name}"
    yield f"# {(facts.repo or facts.run.resolve().name).rpartition('/')[2]}"
    yield (
        f"{what} for {facts.base}, tuned by Thumbtune on likes and dislikes of images with {method_of(facts.recipe)}."
    )
    if facts.images:
        yield "Before on the left and after on the right, of one prompt and seed each:"
        yield "\n".join(f"![{_alt(prompt)}]({file})" for prompt, file in facts.images)
    yield "## Use it\n\n" + _before_snippet(facts) + "\n\n```python\n" + snippet_of(facts) + "\n```"
    if prefix := run.prompt_prefix_of(facts.run):
        yield f'Begin every prompt with "{prefix}, ", which training put before the prompts of good images.'
    yield "## Data\n\n" + _data(facts)
    yield "## Training\n\n" + _training(facts)
    yield "## Results\n\n" + "\n".join(_results(facts))
    yield "## Limits\n\n" + "\n".join(f"- {line}" for line in _limits(facts))


def _before_snippet(facts: Facts) -> str:
    """Return what the example needs: its libraries, and without a repository the folder of the card."""
    own = is_bundled_model(facts.recipe.model)
    needs = (
        "`pip install thumbtune`, which brings the base model" if own else "`pip install diffusers transformers peft`"
    )
    place = "" if facts.repo is not None else " Run it in the folder of this file: `.` and `..` begin there."
    return f"It needs {needs}.{place}"


def snippet_of(facts: Facts) -> str:
    """Return lines of Python that draw with the tuned model in diffusers."""
    sampler, dtype = build.sampler_of(facts.recipe), DTYPES.get(_half(facts.recipe), "float32")
    place = json.dumps(facts.repo or ".")
    named = (index_of(build.model_path(facts.recipe.model)) or {}).get("_class_name")
    is_file = Path(facts.recipe.model).is_file()  # only the pipeline's own class reads a checkpoint in one file
    pipeline, load = (str(named), "from_single_file") if is_file else ("DiffusionPipeline", "from_pretrained")
    lines = ["import torch", f"from diffusers import {pipeline}"]
    base, own = base_in_snippet(facts)
    if own.startswith("base = files("):
        lines = ["from importlib.resources import files", "", *lines]
    more = ""
    if not facts.is_lora:
        kind = _class_of(facts.result)
        lines[-1] += f", {kind}"
        folder = json.dumps(facts.repo or f"../{facts.result.name}")
        lines += ["", f"{facts.result.name} = {kind}.from_pretrained({folder}, dtype=torch.{dtype})"]
        more = f", {facts.result.name}={facts.result.name}"
    lines += [
        "",
        *([own] if own else []),
        f"pipeline = {pipeline}.{load}({base}, dtype=torch.{dtype}{more})",
    ]
    if facts.is_lora:
        lines.append(f'pipeline.load_lora_weights({place}, weight_name="{build.LORA_RESULT.name}")')
        if (facts.result / SECOND).is_file():
            lines.append(f'pipeline.load_lora_weights({place}, weight_name="{SECOND}", load_into_transformer_2=True)')
    prompt = facts.images[0][0] if facts.images else "a red apple"
    if prefix := run.prompt_prefix_of(facts.run):
        prompt = f"{prefix}, {prompt}"
    adapter = adapter_class_of(named)
    called = {"num_inference_steps": sampler.steps, **adapter.guided(adapter, sampler.guidance)}  # type: ignore[arg-type]
    if adapter.family.clips:
        called |= {"num_frames": facts.recipe.frames, "output_type": "pil"}
    values = {name: json.dumps(value) if isinstance(value, str) else repr(value) for name, value in called.items()}
    options = [*(f"{name}={value}" for name, value in values.items()), "generator=generator"]
    lines += ["generator = torch.Generator().manual_seed(0)", "result = pipeline("]  # short lines: pages cut long ones
    lines += [*(f"    {word}," for word in (json.dumps(prompt, ensure_ascii=False), *options)), ")"]
    if not adapter.family.clips:
        lines.append('result.images[0].save("image.png")')
    else:
        lines.append('result.frames[0][0].save("image.png")  # the first frame')
    return "\n".join(lines)


def base_in_snippet(facts: Facts) -> tuple[str, str]:
    """Return the base as an argument, and the line of Python before it, or ""; no folder outside of the run."""
    model = facts.recipe.model
    if is_bundled_model(model):
        name = facts.base if build.is_bundled(model) else MODEL
        return "base", f'base = files("thumbtune") / "bundled" / "{name}"'
    is_local = facts.base != model or Path(model).exists()
    if not is_local:
        return json.dumps(model), ""
    if facts.repo is None and (inside := given_model.inside(facts.run, model)) is not None:
        return json.dumps(f"../{inside.as_posix()}"), ""
    kind = "file" if Path(model).is_file() else "folder"
    return "base", f"base = {json.dumps(facts.base)}  # the base model: put its {kind} here"


def _half(recipe: Recipe) -> str | None:
    """Return the precision below float32 in which a recipe draws, or None."""
    precision = build.precision_of(recipe)
    return None if precision == "no" else precision


def _class_of(result: Path) -> str:
    from thumbtune.documents import read_config

    return str((read_config(result / "config.json") or {}).get("_class_name") or "UNet2DConditionModel")


def _alt(prompt: str) -> str:
    return " ".join(prompt.split()).replace("[", "(").replace("]", ")")


def _data(facts: Facts) -> str:
    rows = records.read_labels(facts.run, ("label", "held_out", "prompt", "rater"))
    trained, kept = ([row for row in rows if row["held_out"] is side] for side in (False, True))
    likes, dislikes = (sum(row["label"] is kind for row in trained) for kind in (True, False))
    text = (
        f"{plural(likes, 'like')} and {plural(dislikes, 'dislike')} of images of "
        f"{plural(len({row['prompt'] for row in trained}), 'prompt')}; {plural(len(kept), 'more label')} of "
        f"{plural(len({row['prompt'] for row in kept}), 'prompt')} were held out."
    )
    raters = {row["rater"] for row in rows if row["rater"]}
    several = [number for number in map(combined_raters, raters) if number is not None]
    people = set() if several or given_feedback.RATER in raters else raters
    story = records.read_story(facts.run) or {}
    if story.get("simulated"):
        return f"{text} A program gave the labels, and no person."
    if several:
        text += f" A label joins the votes of up to {plural(max(several), 'person', 'people')}."
    if people:
        text += f" They come from {plural(len(people), 'person', 'people')}, whom this card does not name."
    return text


def _training(facts: Facts) -> str:
    recipe, train = facts.recipe, facts.recipe.train
    steps, stop = len(records.read_step_rows(facts.run)), records.read_stop(facts.run)
    rows = {
        "base": facts.base,
        "method": method_of(recipe),
        "steps": f"{steps} of {train.batch} images"
        + (f"; a guard stopped the training, and the weights are those of step {stop['best']}" if stop else ""),
        "learning rate": f"{train.lr:g}, warm-up {train.warmup}, cool-down {train.cooldown} steps",
        "weights": f"LoRA of rank {recipe.lora.rank}, alpha {recipe.lora.alpha:g}, {recipe.lora.targets}"
        if facts.is_lora and recipe.lora.start is None
        else "the LoRA that it began from"
        if facts.is_lora
        else "all of the network",
        "share of likes in a batch": f"{train.liked_share:g}",
        **_noise_and_gain(recipe),
        "precision": {"no": "float32"}.get(train.precision, train.precision),
        "seed": str(recipe.seed),
    }
    for name in ("thumbtune", "torch", "diffusers"):
        found = records.read_environment(facts.run).get("versions", {}).get(name)
        rows |= {name: str(found)} if found else {}
    return "\n".join(["| option | value |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows.items())])


def _noise_and_gain(recipe: Recipe) -> dict[str, str]:
    """Return the rows of options that a default may have moved, where they are not neutral."""
    low, high = recipe.train.disliked_timesteps
    rows = {}
    if (bias := recipe.train.timestep_bias) != 1:
        rows["timestep_bias"] = f"{bias:g}: {'high' if bias > 1 else 'low'} noise more often"
    if (low, high) != (0, 1):
        rows["disliked_timesteps"] = f"dislikes only from {low:g} to {high:g} of the process (1 is pure noise)"
    if (scale := recipe.objective.gain_scale) != 1:
        rows["gain_scale"] = f"{scale:g}: the factor of the gains to which beta auto moves"
    return rows


def _results(facts: Facts) -> Iterator[str]:
    """Yield the verdict with its intervals, and the win-rate of each scorer."""
    if facts.duel is None or facts.duel.verdict is None:
        yield "It was not evaluated."
        return
    from thumbtune.evaluation.gates import line_of  # they load scipy, which training does not need
    from thumbtune.evaluation.standings import careful

    result, verdict = facts.duel.result, facts.duel.verdict
    other = name_of(facts.duel.manifest["sides"]["a"]["name"])
    prompts = plural(result["prompts"], "prompt")
    yield (
        f"**{verdict['sentence']}** Compared with {other} on {prompts} that training did not see, "
        f"{plural(result['per_prompt'], 'image')} of each. Passed `+`, failed `-`, open `?`:"
    )
    yield ""
    yield from (f"- `{line_of(gate)[0]}` {gate['sentence']}" for gate in verdict["gates"])
    if result.get("hardly_differ"):
        yield ""
        yield "**The images before and after hardly differ**, so these numbers tell little of the training."
    rows = [row for row in result["standings"] if (row["style"], row["estimand"]) == (None, "median")]
    rows = [row for row in rows if row["prompts"]]
    if rows:
        yield ""
        yield "| scorer | prompts won | 95% interval | prompts |"
        yield "|---|---|---|---|"
    for row in rows:
        low, high = careful(row)
        yield f"| {row['scorer']} | {row['rate']:.0%} | {low:.0%} to {high:.0%} | {row['prompts']} |"


def _limits(facts: Facts) -> Iterator[str]:
    yield "It learnt the taste of those who gave the labels, on their prompts. On other prompts it may not show it."
    yield f"The biases, the licence and the terms of use of {facts.base} are those of this model too."
    safe = facts.recipe.evaluate.safety
    if facts.duel is None or not safe or safe == "none":
        yield "No scorer measured whether its images are safe."
    if facts.duel is not None:
        yield "The results are those of these prompts, seeds and scorers. People were not asked."
