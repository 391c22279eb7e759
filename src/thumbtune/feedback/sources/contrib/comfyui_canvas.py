"""Turn ComfyUI's canvas, the graph that people draw, into the graph that `comfyui` follows.

    {"nodes": [{"id", "type", "mode", "inputs": [{"name", "link", "widget"}], "widgets_values": [...]}], "links": [...]}

A link is [its number, node, output, node, input, type]. The values typed into a node have no names in older canvases,
only an order, which is listed here for the common nodes; values of other nodes are used if their names stand beside
them. Nodes that only pass a value on (Reroute, and bypassed nodes) are followed. Muted nodes are left out.
"""

from collections.abc import Iterator, Mapping

from thumbtune.feedback.metadata.comfyui import read_graph
from thumbtune.feedback.metadata.parameters import Parameters

MUTED, BYPASSED = 2, 4
# How ComfyUI changes a seed after a run: an unnamed value behind the seed.
SEED_CONTROLS = ("fixed", "increment", "decrement", "randomize")
WIDGET_NAMES: dict[str, tuple[str, ...]] = {
    "CLIPTextEncode": ("text",),
    "CLIPTextEncodeFlux": ("clip_l", "t5xxl", "guidance"),
    "CLIPTextEncodeSDXL": (
        *("width", "height", "crop_w", "crop_h", "target_width", "target_height"),
        *("text_g", "text_l"),
    ),
    "CR Prompt Text": ("prompt",),
    "CR Text": ("text",),
    "CheckpointLoaderSimple": ("ckpt_name",),
    "ComfySwitchNode": ("switch",),
    "DF_Text_Box": ("Text",),
    "KSampler": ("seed", "steps", "cfg", "sampler_name", "scheduler", "denoise"),
    "KSamplerAdvanced": ("add_noise", "noise_seed", "steps", "cfg", "sampler_name", "scheduler"),
    "PrimitiveInt": ("value",),
    "PrimitiveNode": ("value",),
    "PrimitiveString": ("value",),
    "PrimitiveStringMultiline": ("value",),
    "RandomNoise": ("noise_seed",),
    "StringConcatenate": ("string_a", "string_b", "delimiter"),
    "Text Multiline": ("text",),
    "SamplerCustom": ("add_noise", "noise_seed", "cfg"),
    "UNETLoader": ("unet_name", "weight_dtype"),
}

MAX_PASSED_NODES = 100  # nodes in a row that only pass a value on

Node = Mapping[str, object]
Links = Mapping[str, tuple[str, int]]


def read_canvas(canvas: Mapping[str, object]) -> Parameters:
    """Return the prompts, seed and model that all samplers of a canvas share; None where they differ."""
    return read_graph(_graph_of(canvas))


def _graph_of(canvas: Mapping[str, object]) -> dict[str, object]:
    nodes = {_name(node.get("id")): node for node in _objects_in(canvas.get("nodes")) if "type" in node}
    links = dict(_links_of(canvas.get("links")))
    return {
        name: {
            "class_type": _name(node["type"]),
            "inputs": {**_widget_values(node), **_linked_inputs(node, nodes, links)},
        }
        for name, node in nodes.items()
        if node.get("mode") not in (MUTED, BYPASSED)
    }


def _links_of(links: object) -> Iterator[tuple[str, tuple[str, int]]]:
    """Yield each link with its origin: the node and the number of its output. Newer canvases write links as objects."""
    for link in links if isinstance(links, list) else []:
        parts = [link.get(key) for key in ("id", "origin_id", "origin_slot")] if isinstance(link, Mapping) else link
        number, node, slot, *_ = [*parts, None, None, None] if isinstance(parts, list) else [None] * 3
        if isinstance(slot, int):
            yield _name(number), (_name(node), slot)


def _objects_in(cell: object) -> list[Node]:
    return [each for each in cell if isinstance(each, Mapping)] if isinstance(cell, list) else []


def _name(cell: object) -> str:
    """Return the name of a node or link, which is a number or a text; "" for any other cell."""
    return str(cell) if isinstance(cell, (int, str)) else ""


def _widget_values(node: Node) -> dict[str, object]:
    """Return the values typed into a node, by name."""
    values = node.get("widgets_values")
    if isinstance(values, Mapping):
        return {str(name): value for name, value in values.items()}
    if not isinstance(values, list):
        return {}
    widgets = (each.get("widget") for each in _objects_in(node.get("inputs")))
    widget_names = tuple(_name(widget.get("name")) for widget in widgets if isinstance(widget, Mapping))
    typed = [value for at, value in enumerate(values) if not _is_seed_control(values, at)]
    names = WIDGET_NAMES.get(_name(node.get("type"))) or (widget_names if len(widget_names) == len(typed) else ())
    return dict(zip(names, typed, strict=False))


def _is_seed_control(values: list[object], at: int) -> bool:
    """Return whether a value is the control of the seed before it."""
    before = values[at - 1] if at else None
    return values[at] in SEED_CONTROLS and isinstance(before, (int, float)) and not isinstance(before, bool)


def _linked_inputs(node: Node, nodes: Mapping[str, Node], links: Links) -> dict[str, object]:
    """Return the inputs of a node from others: links, and the values of primitives."""
    inputs: dict[str, object] = {}
    for each in _objects_in(node.get("inputs")):
        if each.get("link") is not None:
            name, slot = _origin(_name(each["link"]), nodes, links)
            origin = nodes.get(name, {})
            is_primitive = origin.get("type") == "PrimitiveNode"
            inputs[_name(each.get("name"))] = _widget_values(origin).get("value") if is_primitive else [name, slot]
    return inputs


def _origin(link: str, nodes: Mapping[str, Node], links: Links) -> tuple[str, int]:
    """Return the node and the output that a link starts from, behind nodes that pass it on; ("", 0) for none."""
    for _ in range(MAX_PASSED_NODES):
        name, slot = links.get(link, ("", 0))
        node = nodes.get(name, {})
        if node.get("type") != "Reroute" and node.get("mode") != BYPASSED:
            return name, slot
        link = _passed_on(node, slot)
    return "", 0


def _passed_on(node: Node, slot: int) -> str:
    """Return the link that a node passes on to an output: the first one of the output's type."""
    outputs = _objects_in(node.get("outputs"))
    kind = outputs[slot].get("type") if 0 <= slot < len(outputs) else None
    through = [each for each in _objects_in(node.get("inputs")) if each.get("link") is not None]
    if node.get("type") != "Reroute":
        through = [each for each in through if each.get("type") == kind]
    return _name(through[0]["link"]) if through else ""
