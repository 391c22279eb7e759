"""The file that people make public holds no rater, prompt or other value of a row, whichever database refused it."""

import ast
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert
from sqlalchemy.exc import IntegrityError

import thumbtune
from thumbtune.cli.failures import tell
from thumbtune.feedback.store.database import open_database
from thumbtune.feedback.store.tables import Erasing

PERSON = "Ann of Example Street"


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_a_reported_error_holds_no_value_of_a_row(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    kind: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    where = str(tmp_path / "likes.sqlite") if kind == "sqlite" else request.getfixturevalue("database")
    with pytest.raises(IntegrityError) as caught:
        _fail(where)
    assert tell(caught.value) == 70
    (file,) = tmp_path.glob("thumbtune-error-*.txt")
    text, line = file.read_text(), capsys.readouterr().err
    assert "IntegrityError" in text and "INSERT INTO" in text
    assert "Example" not in text and "Ann" not in line


def _fail(where: str) -> None:
    engine = open_database(where)
    try:
        with engine.begin() as connection:
            for _ in range(2):
                connection.execute(insert(Erasing), {"rater": PERSON})
    finally:
        engine.dispose()


@pytest.mark.slow
def test_every_engine_hides_the_values() -> None:
    package = Path(thumbtune.__file__).parent
    calls: list[Any] = [
        node
        for file in package.rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Call) and getattr(node.func, "id", getattr(node.func, "attr", "")) == "create_engine"
    ]
    assert calls and all("hide_parameters" in [keyword.arg for keyword in call.keywords] for call in calls)
