"""Read the JSON that tools write into images or beside them. The first form with a prompt counts:

sui_image_params                      SwarmUI
prompt, workflow as objects           ComfyUI's packs of savers: a graph, and the canvas it was drawn on
{"3": {"class_type": ...}}            the graph itself, as Civitai's generator writes it
Comment, or uc beside prompt          NovelAI, whose version 4 gives each character a caption of its own
c, uc                                 Draw Things
positive_prompt                       InvokeAI
prompt, Prompt, PositivePrompt ...    Fooocus, RuinedFooocus, Easy Diffusion, StabilityMatrix, diffusers ...
extraMetadata                         Civitai: what an enlarged image was generated from
"""

import re
from collections.abc import Callable, Iterator, Mapping

from thumbtune.feedback.metadata.comfyui import read_graph
from thumbtune.feedback.metadata.parameters import (
    NO_PARAMETERS,
    Parameters,
    first_with_prompt,
    json_object,
    parameters_from,
    plain_text,
    prompt_text,
    seed_in,
)
from thumbtune.feedback.prompts import Syntax
from thumbtune.feedback.sources.contrib.comfyui_canvas import read_canvas

Values = Mapping[str, object]
# Names of fields, in lower case and without spaces, dashes and underscores, in the order of trust.
PROMPTS = ("prompt", "positiveprompt", "positive", "promptpositive", "inputprompt", "originalprompt", "sdprompt")
NEGATIVES = ("negativeprompt", "negative", "promptnegative", "uc")
SEEDS = ("seed", "noiseseed", "randomseed", "imageseed")
MODELS = (
    *("basemodel", "basemodelname", "model", "modelname", "modelfilename", "usestablediffusionmodel"),
    *("stablediffusionmodel", "sdmodel", "checkpoint", "ckptname", "modelid", "modelhash"),
)
# Programs with Automatic1111's weights and tags; another program's prompt is judged by its marks alone.
A1111_LIKE = ("base_model", "base_model_name", "fooocus_scheme", "metadata_scheme", "PositivePrompt", "extraMetadata")
MAX_CHARACTERS = 16  # captions of characters in NovelAI


def read_json(values: Values) -> Parameters:
    """Return the parameters in the JSON of any known tool; none if no form with a prompt or a seed is found."""
    return first_with_prompt(read(values) for read in FORMS)


def read_prompt(text: str) -> Parameters:
    """Read a text named `prompt`: ComfyUI's graph, the JSON of another tool, or the prompt itself."""
    start = text.lstrip()
    if re.match(r'[\[{]\s*["\[{\]}]', start) or (start.startswith("{") and json_object(text)):
        return read_json(json_object(text))
    return Parameters(prompt=prompt_text(text))


def read_fields(values: Values, syntax: Syntax | None = None) -> Parameters:
    """Read fields with the usual names, in any case; the prompt is a text, or a list of one."""
    fields = {_name(name): value for name, value in reversed(list(values.items()))}
    prompt = next((fields[name] for name in PROMPTS if fields.get(name)), None)
    if isinstance(prompt, list) and len(prompt) == 1:
        prompt = prompt[0].get("prompt") if isinstance(prompt[0], dict) else prompt[0]
    models = (fields[name] for name in MODELS if fields.get(name))
    return Parameters(
        prompt=prompt_text(prompt),
        negative=next((text for name in NEGATIVES if (text := prompt_text(fields.get(name)))), None),
        seed=next((seed for name in SEEDS if (seed := seed_in(fields.get(name))) is not None), None),
        model=next((text for model in models if (text := _model(model))), None),
        syntax=syntax or ("automatic1111" if any(name in values for name in A1111_LIKE) else None),
    )


def _name(name: object) -> str:
    return str(name).lower().replace("_", "").replace("-", "").replace(" ", "")


def _model(model: object) -> str | None:
    """Return the name of a model, which may be a path, or an object with a name."""
    if isinstance(model, dict):
        model = model.get("name") or model.get("model_name") or model.get("modelFileName")
    return prompt_text(model)


def _swarm(values: Values) -> Parameters:
    """Read SwarmUI, whose object is one level deeper."""
    inner = values.get("sui_image_params")
    if not isinstance(inner, dict):
        return NO_PARAMETERS
    return parameters_from(
        inner,
        prompt=inner.get("prompt"),
        negative=inner.get("negativeprompt"),
        model=inner.get("model"),
        syntax="automatic1111",
    )


def _graphs(values: Values) -> Parameters:
    """Read ComfyUI's graph and canvas, as fields or as the object itself."""
    return first_with_prompt(_each_graph(values))


def _each_graph(values: Values) -> Iterator[Parameters]:
    if any(isinstance(node, dict) and "class_type" in node for node in values.values()):
        yield read_graph(values)
    elif isinstance(values.get("nodes"), list):
        yield read_canvas(values)
    fields = {str(name).lower(): value for name, value in values.items()}
    graph, canvas = _object(fields.get("prompt")), _object(fields.get("workflow"))
    if graph:
        yield read_graph(graph)
    elif canvas:  # the graph that ran counts; a canvas may hold more nodes
        yield read_canvas(canvas)


def _object(value: object) -> dict[str, object]:
    """Return an object, or the one that a text holds."""
    if isinstance(value, str) and value.lstrip().startswith("{"):
        return json_object(value)
    return value if isinstance(value, dict) else {}


def read_novelai(values: Values) -> Parameters:
    """Read NovelAI's fields: in its PNGs each is a text of its own, elsewhere one object holds them."""
    inner = _object(values.get("Comment")) or values
    caption = _caption(inner.get("v4_prompt"))
    if not caption and "uc" not in inner and "noise_schedule" not in inner:
        return NO_PARAMETERS
    negative = _caption(inner.get("v4_negative_prompt")) or inner.get("uc")
    prompt = caption or inner.get("prompt") or values.get("Description")
    return parameters_from(inner, prompt=prompt, negative=negative, model=values.get("Source"), syntax="novelai")


def _caption(prompt: object) -> str | None:
    """Return the caption of NovelAI 4 with the captions of its characters behind it, or None."""
    caption = prompt.get("caption") if isinstance(prompt, dict) else None
    if not isinstance(caption, dict):
        return None
    characters = caption.get("char_captions")
    listed = [each.get("char_caption") for each in _objects(characters)[:MAX_CHARACTERS]]
    parts = [plain_text(part) for part in (caption.get("base_caption"), *listed)]
    return ", ".join(part.rstrip(", ") for part in parts if part) or None


def _objects(cell: object) -> list[dict[str, object]]:
    return [each for each in cell if isinstance(each, dict)] if isinstance(cell, list) else []


def _draw_things(values: Values) -> Parameters:
    if not isinstance(values.get("c"), str) or "uc" not in values:
        return NO_PARAMETERS
    return parameters_from(
        values, prompt=values["c"], negative=values["uc"], model=values.get("model"), syntax="automatic1111"
    )


def _invokeai(values: Values) -> Parameters:
    return read_invokeai(values) if "positive_prompt" in values else NO_PARAMETERS


def read_invokeai(values: Values) -> Parameters:
    """Read InvokeAI's metadata, from an image or its database. Older versions have model_name for the model's name."""
    model = values.get("model")
    if isinstance(model, dict):
        model = model.get("name") or model.get("model_name")
    negative, prompt = values.get("negative_prompt"), values.get("positive_prompt")
    return parameters_from(values, prompt=prompt, negative=negative, model=model, syntax="invokeai")


def read_sd_metadata(text: str) -> Parameters:
    """Read InvokeAI 2's metadata: the prompt is a text, or a list of weighted texts; of several, none is taken."""
    values = json_object(text)
    image = values.get("image")
    if not isinstance(image, dict):
        return NO_PARAMETERS
    prompt = image.get("prompt")
    if isinstance(prompt, list) and len(prompt) == 1 and isinstance(prompt[0], dict):
        prompt = prompt[0].get("prompt")
    return parameters_from(image, prompt=prompt, model=values.get("model_weights"), syntax="invokeai")


def _extra(values: Values) -> Parameters:
    """Read Civitai's extraMetadata, which an enlarged image has from the one before."""
    extra = _object(values.get("extraMetadata"))
    return read_fields(extra, "automatic1111") if extra else NO_PARAMETERS


FORMS: tuple[Callable[[Values], Parameters], ...] = (
    _swarm,
    _graphs,
    read_novelai,
    _draw_things,
    _invokeai,
    read_fields,
    _extra,
)
