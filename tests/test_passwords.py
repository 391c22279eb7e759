"""No sentence shows a password, whatever the address around it looks like."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from thumbtune.cli.app import app
from thumbtune.errors import ThumbtuneError
from thumbtune.feedback.store.database import name_of
from thumbtune.passwords import without_passwords
from thumbtune.runs.recipe import parse_recipe

ADDRESSES = (
    "postgresql://ann:SECRET@[::1",
    "postgresql://ann:SECRET@host:port/db",
    "postgresql://ann:SECRET@db.example.org/thumbs",
    "postgresql://ann:SEC/RET@host/db",
    "postgresql://ann:SEC@RET@host/db",
    "postgresql://ann:SEC:RET@host/db",
    "postgresql://ann:SEC RET@host/db",
    "postgresql://ann:SEC'RET@host/db",
    "postgresql://ann:SEC#RET@host/db",
    "postgresql://ann:SEC?RET@host/db",
    "postgresql://:SECRET@host/db",
    "postgresql:///ann:SECRET@host/db",
    "postgresql:/ann:SECRET@host/db",
    "postgresql:ann:SECRET@host/db",
    "postgres//ann:SECRET@host/db",
    "ann:SECRET@host/db",
    "//ann:SECRET@host/db",
    "mysql://ann:SECRET@host/db",
    "POSTGRESQL://ann:SECRET@host/db",
    "postgresql+psycopg2://ann:SECRET@host/db",
    "postgresql://host/db?user=ann&password=SECRET",
    "postgresql://host/db?PASSWORD=SECRET",
    "postgresql://host/db?sslpassword=SECRET",
    "host=db.example.org user=ann password=SECRET",
    "host=h user=ann password='SECRET' dbname=l",
    "host=h user=ann password = 'SEC RET' dbname=l",
    'host=h user=ann password="SEC RET" dbname=l',
    r"host=h user=ann password='SEC\'RET' dbname=l",
    r"host=h user=ann password=SEC\ RET dbname=l",
    "host=h user=ann password=SEC'RET dbname=l",
    "host=h user=ann password=SEC&RET;SEC dbname=l",
    "host=h user=ann PWD={SEC RET};Database=l",
    "host=h password='SECRET",
    "postgresql://host/db?password=SEC RET",
    "postgresql://host/db?user=ann&password=SEC RET&sslmode=require",
    "postgresql://host/db?access_token=SECRET",
    f"postgresql://ann:{'SECRET' * 200}@host/db",
    f"postgresql:/ann:{'SECRET' * 200}@host/db",
    f"postgresql://host/db?password={'SECRET' * 200}",
)
PARTS = ("SECRET", "SEC", "RET")
HARMLESS = (
    "postgresql://ann@host/db is new; give the location of its images.",
    "row 3 of a.csv: it is 12:30, and ann@example.org is not a time.",
    "/tmp/a@c/b:d/likes.sqlite is damaged.",
    "C:\\likes\\a@b could not be read.",
    "The address of postgresql://h:5432/db could not be found.",
    "likes=postgresql://ann@host/db",
    "hf://datasets/OWNER/NAME@main is read.",
    "sweep_max_tokens=77 is no option.",
    "tokenizer=clip, secretary=ann, compass=north and bypass=yes are read.",
)
NO_ADDRESSES = (
    "/data/sweep_max_tokens=77/likes",
    "/data/token=77/likes",
    "laion:aesthetic@v2",
    "C:/likes/a:b@c/d",
    "runs/password=old/likes",
    "my_file:Mine",
)


def assert_hidden(text: str) -> None:
    assert not [part for part in PARTS if part in text], text


@pytest.mark.parametrize("address", ADDRESSES)
def test_a_sentence_shows_no_password(address: str) -> None:
    error = ThumbtuneError(f"likes is {address!r}, but that is not an address; write postgresql://user@host/database.")
    assert_hidden(str(error))
    assert_hidden(without_passwords(address))
    try:
        assert_hidden(name_of(address))
    except ThumbtuneError as refusal:
        assert_hidden(str(refusal))


@pytest.mark.parametrize("sentence", HARMLESS)
def test_other_sentences_stay_as_they_are(sentence: str) -> None:
    assert without_passwords(sentence) == sentence


@pytest.mark.parametrize("text", ["a" * 20_000, "a:" * 10_000, "a://" * 5_000, "://" * 6_000, "=" * 20_000])
def test_a_long_text_takes_no_long_time(text: str) -> None:
    begun = time.process_time()
    for each in (text, f"@{text}", f"{text}@", f"password{text}=", f"%3a{text}%40"):
        without_passwords(each)
    assert time.process_time() - begun < 5


LONG = [address for address in ADDRESSES if len(address) > 255 and "://" not in address]


@pytest.mark.parametrize("address", LONG)
def test_the_system_s_own_error_on_a_long_name_shows_no_password(
    call: Callable[..., tuple[int, str, str]], address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.csv").write_text("image,prompt,label\nb.png,fox,1\n")
    code, out, err = call("import", "a.csv", "--likes", address)
    assert (
        code == 1
        and err.count("\n") == 1
        and "postgresql:/ann@host/db could not be created (File name too long)" in err
    )
    assert_hidden(out + err)


@pytest.mark.parametrize("address", [address for address in ADDRESSES if address not in LONG])
def test_no_command_shows_a_password(address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    if "://" in address and "@h" in address.replace("@host:port", ""):
        return  # it would be looked up in the network
    (tmp_path / "a.csv").write_text("image,prompt,label\nb.png,fox,1\n")
    for words in (["likes", "stats"], ["likes", "erase", "ann", "--yes"], ["import", "a.csv"], ["likes", "upgrade"]):
        result = CliRunner().invoke(app, [*words, "--likes", address])
        assert isinstance(result.exception, ThumbtuneError), result.output
        assert_hidden(str(result.exception) + result.output)


@pytest.mark.parametrize("address", ADDRESSES)
def test_a_recipe_shows_no_password(address: str) -> None:
    try:
        parse_recipe({"likes": address}, "recipe.yaml")
    except ThumbtuneError as error:
        assert error.code == "recipe-password"
        assert_hidden(str(error))
    else:
        raise AssertionError("a recipe with a password was read")


@pytest.mark.parametrize("value", NO_ADDRESSES)
def test_a_recipe_takes_names_and_paths_that_are_no_addresses(value: str) -> None:
    assert str(parse_recipe({"likes": value}, "recipe.yaml").likes) == value
    assert parse_recipe({"model": value}, "recipe.yaml").model == value


@pytest.mark.parametrize("address", [address for address in ADDRESSES if "=" in address])
def test_hiding_twice_is_hiding_once_and_keeps_the_sentence(address: str) -> None:
    once = without_passwords(address)
    assert without_passwords(once) == once
    assert without_passwords(f"{once} is new; give the location.") == f"{once} is new; give the location."
    assert without_passwords(f"likes is {once!r}, and not an address; mend it.").endswith(
        ", and not an address; mend it."
    )


def test_a_recipe_takes_an_address_without_a_password() -> None:
    for address in ("postgresql://ann@host/db", "postgresql://host:5432/db", "postgresql://postgres:@/db?host=/tmp/x"):
        assert str(parse_recipe({"likes": address}, "recipe.yaml").likes) == address
