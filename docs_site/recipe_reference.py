"""The reference of the recipe: every option with its default, the values that it takes, and its line of help."""

from typing import Any

import yaml

from docs_site.prose import escaped
from thumbtune.runs.recipe import SHIPPED_RECIPES, Recipe

TITLES = {
    "array": "a list",
    "boolean": "true or false",
    "integer": "an integer",
    "number": "a number",
    "string": "text",
}
BOUNDS = {
    "minimum": "at least {}",
    "exclusiveMinimum": "above {}",
    "maximum": "at most {}",
    "exclusiveMaximum": "below {}",
}
HEAD = """# Every option of a recipe

This page is made from the schema of recipes, as is the list that `thumbtune recipe` prints. A recipe is a YAML file; an
option that it leaves out has its default. `--set train.steps=200` changes one option, and `thumbtune train klein`
begins with a shipped recipe.

The defaults here are those of the bundled model. `thumbtune recipe --set model=NAME` lists those of another model, with
the reason for each.
"""
SHIPPED = """## Shipped recipes

`thumbtune recipe NAME` prints one with every option.
"""


def values_of(schema: dict[str, Any]) -> str:
    """Return the values that an option takes, in words; an empty text if the schema does not say them.

    >>> values_of({"type": "integer", "minimum": 1, "maximum": 1000})
    'an integer, at least 1, at most 1000'
    >>> values_of({"anyOf": [{"enum": ["epsilon", "v"], "type": "string"}, {"type": "null"}]})
    'one of `epsilon`, `v`'
    """
    if "anyOf" in schema:
        return " or ".join(text for text in map(values_of, schema["anyOf"]) if text)
    if "enum" in schema:
        return "one of " + ", ".join(f"`{value}`" for value in schema["enum"])
    title = "a path" if schema.get("format") == "path" else TITLES.get(schema.get("type", ""), "")
    bounds = [text.format(f"{schema[name]:g}") for name, text in BOUNDS.items() if name in schema]
    return ", ".join(filter(None, [title, *bounds]))


def default_of(name: str) -> str:
    """Return the default of an option, as a recipe writes it."""
    value: Any = Recipe()
    for part in name.split("."):
        value = getattr(value, part)
    if value is None:
        return "not set"
    written = yaml.safe_dump(value, default_flow_style=True).strip().removesuffix("...").strip()
    return f"`{written}`"


def _option(name: str, schema: dict[str, Any]) -> str:
    facts = f"Default: {default_of(name)}"
    if values := values_of(schema):
        facts += f" · {values}"
    return f"### {name} {{ #{name} }}\n\n{facts}\n{{ .facts }}\n\n{escaped(schema['description'])}\n"


def page() -> str:
    """Return the page in Markdown: a heading for each section of the recipe, and one for each option."""
    schema = Recipe.model_json_schema()
    parts, sections = [HEAD, "## The run { #run }\n"], []
    for name, option in schema["properties"].items():
        inner = option.get("$ref") or next((one["$ref"] for one in option.get("allOf", []) if "$ref" in one), None)
        if inner is None:
            parts.append(_option(name, option))
            continue
        section = schema["$defs"][inner.rpartition("/")[2]]
        sections.append(f"## {name} {{ #{name} }}\n\n{escaped(section['description'])}\n")
        sections += [_option(f"{name}.{each}", its) for each, its in section["properties"].items()]
    recipes = [
        f"### {file.stem} {{ #recipe-{file.stem} }}\n\n```yaml\n{file.read_text(encoding='utf-8').strip()}\n```\n"
        for file in sorted(SHIPPED_RECIPES.glob("*.yaml"))
    ]
    return "\n".join([*parts, *sections, SHIPPED, *recipes])
