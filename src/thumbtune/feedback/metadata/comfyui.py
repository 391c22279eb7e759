"""ComfyUI writes no prompt into its images but the graph that made them: follow it from the sampler to the text.

The graph is {node: {"class_type": ..., "inputs": {name: value}}}, and a value that comes from another node is
[node, output]. Where two ways lead to two prompts, nobody can tell which one the image shows, and none is given.
"""

from collections.abc import Iterator, Mapping
from typing import Literal, TypeGuard, TypeVar

from thumbtune.feedback.metadata.written import NOTHING, Written, plain_text, seed_in

Side = Literal["positive", "negative"]
Inputs = Mapping[str, object]
T = TypeVar("T")

# Core nodes and the common packs: what they call the text that they encode, or pass on as it is.
TEXTS = ("text", "text_g", "text_l", "clip_l", "clip_g", "t5xxl", "prompt", "string", "value")
CONDITIONINGS = (
    "conditioning",
    "conditioning_1",
    "conditioning_2",
    "conditioning_to",
    "conditioning_from",
)
SEEDS = ("seed", "noise_seed", "noise", "value", "int")
MODELS = ("ckpt_name", "unet_name", "model")
MOST_SAMPLERS = 64  # each is followed through the graph by itself; a graph with more makes no one image


def read_graph(graph: Mapping[str, object]) -> Written:
    """The prompts, seed and model that all samplers of a graph agree on; None where they do not."""
    nodes = {name: inputs for name, node in graph.items() if (inputs := _inputs_of(node)) is not None}
    samplers = [node for node in nodes.values() if _is_sampler(node)]
    if not 0 < len(samplers) <= MOST_SAMPLERS:
        return NOTHING
    # A second sampler that goes on from a first one without noise has a seed that it does not use.
    noisy = [sampler for sampler in samplers if sampler.get("add_noise") != "disable"]
    return Written(
        prompt=_agreed({_prompt(nodes, sampler, "positive") for sampler in samplers}),
        negative=_agreed({_prompt(nodes, sampler, "negative") for sampler in samplers}),
        seed=_agreed({seed_in(_followed(nodes, sampler, SEEDS)) for sampler in noisy}),
        model=_agreed({plain_text(_followed(nodes, _guider(nodes, sampler), MODELS)) for sampler in samplers}),
    )


def _inputs_of(node: object) -> Inputs | None:
    if not isinstance(node, dict) or not isinstance(node.get("inputs"), dict):
        return None
    return {**node["inputs"], "class_type": str(node.get("class_type"))}


def _is_sampler(node: Inputs) -> bool:
    """Does it turn noise into an image, as a prompt says? Detailers and upscalers that come later do not count."""
    guided = _is_link(node.get("positive")) or _is_link(node.get("guider"))
    return guided and ("latent_image" in node or "sampler" in str(node["class_type"]).lower())


def _is_link(value: object) -> TypeGuard[list[object]]:
    return isinstance(value, list) and [isinstance(part, (str, int)) for part in value] == [True, True]


def _agreed(found: set[T | None]) -> T | None:
    return found.pop() if len(found) == 1 else None


def _guider(nodes: Mapping[str, Inputs], sampler: Inputs) -> Inputs:
    """The node with the conditionings and the model: the sampler, or what guides it."""
    link = sampler.get("guider")
    return nodes.get(str(link[0]), {}) if _is_link(link) else sampler


def _followed(nodes: Mapping[str, Inputs], node: Inputs, names: tuple[str, ...]) -> object:
    """The first of these inputs, followed from node to node until it is no link; None if it goes in a circle."""
    seen: set[str] = set()
    while True:
        value = next((node[name] for name in names if name in node), None)
        if not _is_link(value):
            return value
        name = str(value[0])
        if name in seen or name not in nodes:
            return None
        seen.add(name)
        node = nodes[name]


def _prompt(nodes: Mapping[str, Inputs], sampler: Inputs, side: Side) -> str | None:
    """The one text that reaches a side of the sampler."""
    guider = _guider(nodes, sampler)
    start = guider.get(side, guider.get("conditioning") if side == "positive" else None)
    texts = set(_texts(nodes, start, side))
    return plain_text(_agreed(texts - {""} or texts))


def _texts(nodes: Mapping[str, Inputs], start: object, side: Side) -> Iterator[str | None]:
    """Every text on the ways back from a conditioning; None for a way that ends in anything else."""
    todo, seen = [start], set[str]()
    while todo:
        value = todo.pop()
        if isinstance(value, str):
            yield value.strip()
        elif not _is_link(value) or str(value[0]) not in nodes:
            yield None
        elif str(value[0]) not in seen:
            seen.add(str(value[0]))
            before = _before(nodes[str(value[0])], side)
            todo.extend(before)
            if not before:
                yield None


def _before(node: Inputs, side: Side) -> list[object]:
    """What a node makes its conditioning or its text from."""
    if node["class_type"] == "ConditioningZeroOut":
        return [""]
    if side in node:  # control nets, and loaders that encode by themselves
        return [node[side]]
    if "populated_text" in node:  # the Impact pack's wildcards, filled in
        return [node["populated_text"]]
    return [node[name] for name in TEXTS + CONDITIONINGS if name in node]
