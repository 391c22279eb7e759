"""Read ComfyUI's graph of nodes: follow it from the sampler to the text of the prompt.

The graph is {node: {"class_type": ..., "inputs": {name: value}}}, and a value that comes from another node is
[node, output]. If the paths of a graph lead to two prompts, the prompt is ambiguous and None.
"""

from collections.abc import Iterator, Mapping
from typing import Literal, TypeGuard, TypeVar

from thumbtune.feedback.metadata.parameters import NO_PARAMETERS, Parameters, plain_text, seed_in

Conditioning = Literal["positive", "negative"]
Inputs = Mapping[str, object]
T = TypeVar("T")

# The inputs that core nodes and common packs have for the text that they encode or pass on.
TEXT_INPUTS = ("text", "text_g", "text_l", "clip_l", "clip_g", "t5xxl", "prompt", "string", "value")
CONDITIONING_INPUTS = (
    "conditioning",
    "conditioning_1",
    "conditioning_2",
    "conditioning_to",
    "conditioning_from",
)
SEED_INPUTS = ("seed", "noise_seed", "noise", "value", "int")
MODEL_INPUTS = ("ckpt_name", "unet_name", "model")
MAX_SAMPLERS = 64  # each is followed through the graph; a graph with more makes several images


def read_graph(graph: Mapping[str, object]) -> Parameters:
    """Return the prompts, seed and model that all samplers of a graph share; None where they differ."""
    nodes = {name: inputs for name, node in graph.items() if (inputs := _inputs_of(node)) is not None}
    samplers = [node for node in nodes.values() if _is_sampler(node)]
    if not 0 < len(samplers) <= MAX_SAMPLERS:
        return NO_PARAMETERS
    # A second sampler that adds no noise has a seed that it does not use.
    noisy = [sampler for sampler in samplers if sampler.get("add_noise") != "disable"]
    return Parameters(
        prompt=_only({_prompt(nodes, sampler, "positive") for sampler in samplers}),
        negative=_only({_prompt(nodes, sampler, "negative") for sampler in samplers}),
        seed=_only({seed_in(_follow(nodes, sampler, SEED_INPUTS)) for sampler in noisy}),
        model=_only({plain_text(_follow(nodes, _guider(nodes, sampler), MODEL_INPUTS)) for sampler in samplers}),
    )


def _inputs_of(node: object) -> Inputs | None:
    if not isinstance(node, dict) or not isinstance(node.get("inputs"), dict):
        return None
    return {**node["inputs"], "class_type": str(node.get("class_type"))}


def _is_sampler(node: Inputs) -> bool:
    """Return whether a node turns noise into an image under a prompt. Later detailers and upscalers do not count."""
    guided = _is_link(node.get("positive")) or _is_link(node.get("guider"))
    return guided and ("latent_image" in node or "sampler" in str(node["class_type"]).lower())


def _is_link(value: object) -> TypeGuard[list[object]]:
    return isinstance(value, list) and [isinstance(part, (str, int)) for part in value] == [True, True]


def _only(values: set[T | None]) -> T | None:
    return values.pop() if len(values) == 1 else None


def _guider(nodes: Mapping[str, Inputs], sampler: Inputs) -> Inputs:
    """Return the node with the conditionings and the model: the sampler or its guider."""
    link = sampler.get("guider")
    return nodes.get(str(link[0]), {}) if _is_link(link) else sampler


def _follow(nodes: Mapping[str, Inputs], node: Inputs, names: tuple[str, ...]) -> object:
    """Follow the first of these inputs from node to node; return its value, or None in a circle."""
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


def _prompt(nodes: Mapping[str, Inputs], sampler: Inputs, kind: Conditioning) -> str | None:
    """Return the only text that reaches a conditioning of the sampler, or None."""
    guider = _guider(nodes, sampler)
    start = guider.get(kind, guider.get("conditioning") if kind == "positive" else None)
    texts = set(_texts(nodes, start, kind))
    return plain_text(_only(texts - {""} or texts))


def _texts(nodes: Mapping[str, Inputs], start: object, kind: Conditioning) -> Iterator[str | None]:
    """Yield every text on the paths back from a conditioning; None for a path that ends in anything else."""
    todo, seen = [start], set[str]()
    while todo:
        value = todo.pop()
        if isinstance(value, str):
            yield value.strip()
        elif not _is_link(value) or str(value[0]) not in nodes:
            yield None
        elif str(value[0]) not in seen:
            seen.add(str(value[0]))
            before = _inputs_before(nodes[str(value[0])], kind)
            todo.extend(before)
            if not before:
                yield None


def _inputs_before(node: Inputs, kind: Conditioning) -> list[object]:
    """Return the inputs that a node makes its conditioning or its text from."""
    if node["class_type"] == "ConditioningZeroOut":
        return [""]
    if kind in node:  # control nets, and loaders that encode by themselves
        return [node[kind]]
    if "populated_text" in node:  # the Impact pack's wildcards, filled in
        return [node["populated_text"]]
    return [node[name] for name in TEXT_INPUTS + CONDITIONING_INPUTS if name in node]
