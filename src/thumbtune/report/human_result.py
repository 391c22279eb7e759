"""The result of a human test for people: one HTML file that loads nothing, and a CSV of the votes on each prompt."""

from collections.abc import Mapping
from typing import Any

from thumbtune.report.templates import template
from thumbtune.spreadsheets import csv_of_records


def result_page(result: Mapping[str, Any]) -> str:
    """Return a page with a result of `read_study`: the preference, its interval, the raters and the prompts."""
    overall, bias = result["overall"], result["bias"]
    return template(
        "human_result.html.j2"
    ).render(
        result=result,
        rate=overall["rate"],
        interval=overall["interval"],
        votes=overall["votes"],
        bias=bias,
        rule=result.get("sequential"),  # results of before have none
        first=result["sentences"][0],
        rest=[*result["sentences"][1:], *result["notes"]],
    )


def result_table(result: Mapping[str, Any]) -> str:
    """Return the votes on each prompt as CSV, with the names of the sides in the header."""
    names = {"b": f"B: {result['b']}", "tie": "no preference", "a": f"A: {result['a']}"}
    prompts = [
        {"prompt": row["words"], "style": row["style"]} | {names[side]: row[side] for side in ("b", "tie", "a")}
        for row in result["prompts"]
    ]
    return csv_of_records(prompts)
