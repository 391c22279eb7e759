"""The API is the one that is written down, and no request of it ends in a failure of the server.

python tests/studio/test_api_schema.py      writes docs/studio-openapi.json again, to be read before it is committed
"""

import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from studio_store import fill

from benchmarks.studio import table
from thumbtune.studio.app import bare_app, make_app
from thumbtune.studio.site import open_site

ROOT = Path(__file__).parents[2]
KEPT = ROOT / "docs" / "studio-openapi.json"
NOT_PROBED = (
    "/api/v1/session",  # after ten wrong tokens all are told to wait
    "/api/v1/jobs/{number}/events",  # a job that waits has no end; test_jobs_api.py asks for them
)
EXAMPLES = 12  # of each operation; the slow test tries more


def schema() -> str:
    """The schema of today, as it is kept."""
    with tempfile.TemporaryDirectory() as folder:
        site = open_site(folder)
        with site.store:
            return json.dumps(bare_app(site).openapi(), indent=1, sort_keys=True) + "\n"


def test_the_schema_is_as_it_was_read() -> None:
    assert KEPT.read_text(encoding="utf-8") == schema(), "read, then: python tests/studio/test_api_schema.py"


def test_the_table_of_the_page_is_what_the_benchmark_measured() -> None:
    (measured,) = json.loads((ROOT / "benchmarks" / "studio.json").read_text(encoding="utf-8"))["results"]
    assert table(measured) in (ROOT / "docs" / "studio.md").read_text(encoding="utf-8")


def test_each_operation_says_what_it_does() -> None:
    for path, operations in json.loads(schema())["paths"].items():
        assert path.startswith("/api/v1/")
        for operation in operations.values():
            assert operation["description"] and operation["tags"], path


@pytest.mark.slow
@pytest.mark.parametrize("examples", [EXAMPLES, pytest.param(100, marks=pytest.mark.slow)])
def test_no_request_ends_in_a_failure_of_the_server(
    tmp_path: Path, examples: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("thumbtune.studio.api.trainings.estimate", lambda queue, words: [*words])  # which loads a model
    monkeypatch.setattr("thumbtune.studio.checkup._run", lambda folder: "ok   Python")  # which loads torch
    fill(tmp_path / "likes", 6)
    (tmp_path / "root" / "pictures").mkdir(parents=True)
    site = open_site(str(tmp_path / "likes"), root=tmp_path / "root", raters=["ann"], hosts=["testserver"])
    with site.store:
        headers = {"authorization": f"Bearer {site.access.token_of(site.owner)}"}
        described = schemathesis.openapi.from_asgi("/openapi.json", make_app(site), headers=headers)
        for result in described.get_all_operations():
            operation = result.ok()
            if operation.path in NOT_PROBED:
                continue
            for mode in GenerationMode.POSITIVE, GenerationMode.NEGATIVE:
                probe(operation, mode, headers, examples)


def probe(operation: Any, mode: GenerationMode, headers: dict[str, str], examples: int) -> None:
    """Send requests that fit the schema, or do not."""

    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate],
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def send(case: Any) -> None:
        case.call_and_validate(headers=headers, checks=[not_a_server_error])

    try:
        send()
    except Unsatisfiable:  # nothing is wrong with any request, as for an operation without parameters
        assert mode is GenerationMode.NEGATIVE


if __name__ == "__main__":
    KEPT.write_text(schema(), encoding="utf-8")
