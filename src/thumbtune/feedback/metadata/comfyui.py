"""Read ComfyUI's graph of nodes: follow it from the sampler to the text of the prompt.

The graph is {node: {"class_type": ..., "inputs": {name: value}}}, and a value that comes from another node is
[node, output]. `comfyui_nodes` reads nodes of text. If the paths of a graph lead to two prompts, the prompt is
ambiguous and None.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Literal, TypeVar

from thumbtune.feedback.metadata.comfyui_nodes import (
    CLASS,
    MAKING,
    TEXT_INPUTS,
    Inputs,
    TextReader,
    chosen,
    is_link,
    nodes_of,
)
from thumbtune.feedback.metadata.parameters import NO_PARAMETERS, Parameters, prompt_text, seed_in

Conditioning = Literal["positive", "negative"]
T = TypeVar("T")

CONDITIONING = re.compile(r"cond(?:itioning)?(?:_?(?:\d+|[a-z]|to|from))?")
SEED_INPUTS = ("seed", "noise_seed", "noise", "seed_num", "value", "int")
MODEL_INPUTS = ("ckpt_name", "unet_name", "base_ckpt_name", "model_name", "gguf_name", "model")
# Where samplers of packs get the conditionings from that they have no inputs for.
PIPES = ("guider", "pipe", "basic_pipe", "sdxl_pipe", "sdxl_tuple", "context", "base_ctx", "ctx")
MAX_PIPES = 20  # nodes in a row that pass a pipe on
MAX_CONCATENATIONS = 50  # of conditionings in one prompt
MAX_SAMPLERS = 64  # each is followed through the graph; a graph with more makes several images


def read_graph(graph: Mapping[str, object]) -> Parameters:
    """Return the prompts, seed and model that all samplers of a graph share; None where they differ."""
    nodes = nodes_of(graph)
    samplers = [node for node in nodes.values() if _is_sampler(node)]
    if not 0 < len(samplers) <= MAX_SAMPLERS:
        return NO_PARAMETERS
    # A second sampler that adds no noise has a seed that it does not use.
    noisy = [sampler for sampler in samplers if sampler.get("add_noise") not in ("disable", False)]
    return Parameters(
        prompt=_only({_prompt(nodes, sampler, "positive") for sampler in samplers}),
        negative=_only({_prompt(nodes, sampler, "negative") for sampler in samplers}),
        seed=_only({seed_in(_follow(nodes, sampler, SEED_INPUTS)) for sampler in noisy}),
        model=_only({prompt_text(_follow(nodes, _guider(nodes, sampler), MODEL_INPUTS)) for sampler in samplers}),
        syntax="comfyui",
    )


def _is_sampler(node: Inputs) -> bool:
    """Return whether a node turns noise into an image under a prompt. Later detailers and upscalers do not count."""
    kind = str(node[CLASS]).lower()
    if is_link(node.get("positive")) or is_link(node.get("guider")):
        return "latent_image" in node or "sampler" in kind
    if is_link(node.get("conditioning")) and is_link(node.get("latent_image")):
        return "sampler" in kind
    return "sampler" in kind and any(is_link(node.get(name)) for name in PIPES)


def _only(values: set[T | None]) -> T | None:
    return values.pop() if len(values) == 1 else None


def _guider(nodes: Mapping[str, Inputs], sampler: Inputs) -> Inputs:
    """Return the node with the conditionings and the model: the sampler, its guider, or what fills its pipe."""
    node = sampler
    for _ in range(MAX_PIPES):
        link = None if "positive" in node else next((node[name] for name in PIPES if is_link(node.get(name))), None)
        if not is_link(link) or str(link[0]) not in nodes:
            return node
        node = nodes[str(link[0])]
    return {}


def _follow(nodes: Mapping[str, Inputs], node: Inputs, names: tuple[str, ...]) -> object:
    """Follow the first of these inputs from node to node; return its value, or None in a circle."""
    seen: set[str] = set()
    while True:
        choice = chosen(nodes, node) if seen else None
        value = next((node[name] for name in names if name in node), None)
        if choice is not None:
            value = choice[0] if choice else None
        if not is_link(value):
            return value
        name = str(value[0])
        if name in seen or name not in nodes:
            return None
        seen.add(name)
        node = nodes[name]


def _prompt(nodes: Mapping[str, Inputs], sampler: Inputs, kind: Conditioning) -> str | None:
    """Return the only text that reaches a conditioning of the sampler, or None."""
    guider = _guider(nodes, sampler)
    others = ("conditioning", "cond1") if kind == "positive" else ("neg_conditioning",)
    start = guider.get(kind, next((guider[name] for name in others if name in guider), None))
    texts = set(_texts(nodes, start, kind))
    return prompt_text(_only(texts - {""} or texts))


def _texts(
    nodes: Mapping[str, Inputs], start: object, kind: Conditioning, reader: TextReader | None = None
) -> Iterator[str | None]:
    """Yield every text on the paths back from a conditioning; None for a path that ends in anything else."""
    todo, seen, reader = [start], set[str](), reader or TextReader(nodes)
    while todo:
        value = todo.pop()
        if isinstance(value, str):
            yield value.strip()
        elif not is_link(value) or str(value[0]) not in nodes:
            yield None
        elif str(value[0]) not in seen:
            seen.add(str(value[0]))
            node = nodes[str(value[0])]
            if node[CLASS] == "ConditioningConcat":  # one text behind the other, as BREAK does it
                yield _concatenated(nodes, node, kind, reader)
                continue
            before = _conditionings_before(nodes, node, kind)
            todo.extend(before)
            if not before:
                yield from _texts_of(reader, node)


def _concatenated(nodes: Mapping[str, Inputs], node: Inputs, kind: Conditioning, reader: TextReader) -> str | None:
    """Return the texts of two conditionings one behind the other, or None if either is unknown."""
    reader.concatenations += 1
    if reader.concatenations > MAX_CONCATENATIONS:
        return None
    parts = []
    for name in ("conditioning_to", "conditioning_from"):
        texts = set(_texts(nodes, node.get(name), kind, reader))
        parts.append(_only(texts - {""} or texts))
    return None if None in parts else " ".join(part for part in parts if part)


def _conditionings_before(nodes: Mapping[str, Inputs], node: Inputs, kind: Conditioning) -> list[object]:
    """Return the inputs that a node passes on as its conditioning; none for a node that encodes a text."""
    if node[CLASS] == "ConditioningZeroOut":
        return [""]
    if kind in node:  # control nets, and loaders that encode by themselves
        return [node[kind]]
    choice = chosen(nodes, node)
    if choice is not None:
        return choice
    links = [value for name, value in node.items() if CONDITIONING.fullmatch(name)]
    return links or [value for name, value in node.items() if name in ("", "any", "input") and is_link(value)]


def _texts_of(reader: TextReader, node: Inputs) -> Iterator[str | None]:
    """Yield the texts that a node encodes: the two of SDXL may differ, and are two prompts then."""
    if "populated_text" in node:  # the Impact pack's wildcards, filled in
        names = ["populated_text"]
    else:
        names = [name for name in TEXT_INPUTS if name in node]
        if "schedule" in str(node[CLASS]).lower():  # a prompt for each frame of an animation
            names = []
        if MAKING.search(str(node[CLASS])) and "clip" not in node and not _encodes(node):
            names = []
    if "t5xxl" in node and node["t5xxl"] and "clip_g" not in node:  # Flux: the other encoder gives a summary alone
        names = ["t5xxl"]
    if not names:
        yield None
    for name in names:
        text = reader.read(node[name])
        yield None if text is None else text.strip()


def _encodes(node: Inputs) -> bool:
    return "encode" in str(node[CLASS]).lower() or "prompt" in str(node[CLASS]).lower()
