"""Shards of WebDataset: archives as its writer, tar and strangers make them."""

import gzip
import io
import json
import tarfile
from collections.abc import Callable, Mapping
from operator import length_hint
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from refusals import refused

from thumbtune.errors import ThumbtuneError, UsageError
from thumbtune.feedback.source import Reading, SourceRow
from thumbtune.feedback.sources.contrib import tar_stream, webdataset, webdataset_samples
from thumbtune.feedback.sources.contrib.braces import expanded
from thumbtune.feedback.sources.contrib.webdataset import WebDataset

Paint = Callable[..., bytes]
Files = Mapping[str, bytes | str]


def pack(file: Path, files: Files, kind: int = tarfile.PAX_FORMAT, mode: str = "w") -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(file, mode, format=kind) as archive:  # type: ignore[call-overload]
        for name, content in files.items():
            data = content if isinstance(content, bytes) else content.encode()
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return file


def said(source: WebDataset) -> list[tuple[str | None, bool | None, bytes | None, str | None]]:
    return [(each.prompt, each.liked, each.image and each.image(), each.problem) for each in source]


def fox(paint: Paint, number: int = 0, **more: object) -> dict[str, bytes | str]:
    return {
        f"{number:03}.png": paint(number),
        f"{number:03}.json": json.dumps({"prompt": f"fox {number}", "label": True, **more}),
    }


# --- samples


@pytest.mark.parametrize("kind", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
@pytest.mark.parametrize("mode", ["w", "w:gz"])
def test_samples_in_an_archive(tmp_path: Path, paint: Paint, kind: int, mode: str) -> None:
    about = {"prompt": "zorro 🦊", "liked": "yes", "rater": "ann", "weight": 2, "grade": 0.75, "reason": "paws"}
    about |= {"pair": "p1", "seed": 7, "model": "sd", "created_at": "2025-06-01T12:00:00Z"}
    about |= {"vote_id": "5f0c3a0e-6d0b-5c53-9d6b-6c7f3a1f8f52"}
    long = f"{'folder/' * 12}{'x' * 90}"  # ustar splits it into prefix and name
    files = {"a.jpg": paint(0, "JPEG"), "a.json": json.dumps(about)}
    files |= {f"{long}.webp": paint(1, "WEBP"), f"{long}.txt": "a hare\n", f"{long}.cls": "0"}
    archive = pack(tmp_path / "shard.tar", files, kind, mode)
    source = WebDataset(archive)
    first, second = source
    assert (first.image and first.image(), second.image and second.image()) == (paint(0, "JPEG"), paint(1, "WEBP"))
    assert (first.prompt, first.liked, first.rater, first.weight, first.grade) == ("zorro 🦊", True, "ann", 2.0, 0.75)
    assert (first.reason, first.pair, first.seed, first.model) == ("paws", "p1", 7, "sd")
    assert first.created_at is not None and first.created_at.year == 2025
    assert (first.vote_id, first.source) == ("5f0c3a0e-6d0b-5c53-9d6b-6c7f3a1f8f52", "shard.tar")
    assert (second.prompt, second.liked, second.where) == ("a hare", False, f"shard.tar, {long}")
    assert said(source) == said(source), "a second pass"
    assert length_hint(source) == 0, "no archive says how many there are"


def test_what_else_lies_in_an_archive(tmp_path: Path, paint: Paint) -> None:
    files = {"README": "a fox", "._000.png": "of a Mac", "000.npy": "array", **fox(paint)}
    files |= {"000.mask.png": paint(9), "001.npy": "array", "dir.d/002.PNG": paint(2), "dir.d/002.Txt": "hare"}
    archive = pack(tmp_path / "shard.tar", {**files, "dir.d/002.cls": "1"})
    assert said(WebDataset(archive)) == [("fox 0", True, paint(0), None), ("hare", True, paint(2), None)]


def test_json_and_files_together(tmp_path: Path, paint: Paint) -> None:
    files = {"0.png": paint(0), "0.txt": "a caption", "0.json": '{"prompt": "the prompt", "label": 0, "url": "x.png"}'}
    files |= {"1.png": paint(1), "1.txt": "a caption", "1.json": '{"caption": "another", "key": 1}', "1.cls": "1"}
    files |= {"2.png": paint(2), "2.txt": "fox", "2.json": '{"label": true}', "2.cls": "0"}
    first, second, third = said(WebDataset(pack(tmp_path / "shard.tar", files)))
    assert first == ("the prompt", False, paint(0), None)
    assert second == ("a caption", True, paint(1), None)
    assert third[1] is None and "label is a like and cls a dislike" in (third[3] or "")


def test_numbers_mean_what_all_shards_say(tmp_path: Path, paint: Paint) -> None:
    pack(tmp_path / "s-0.tar", {"0.png": paint(0), "0.txt": "fox", "0.cls": "1"})
    pack(tmp_path / "s-1.tar", {"1.png": paint(1), "1.txt": "fox", "1.cls": "5"})
    first, _ = WebDataset(tmp_path)
    assert first.liked is None and "looks like a rating (of up to 5)" in (first.problem or "")
    assert [each.liked for each in WebDataset(tmp_path, Reading(like_at=4))] == [False, True]


def test_which_file_is_which_column(tmp_path: Path, paint: Paint) -> None:
    files = {"0.before.png": paint(0), "0.after.png": paint(1), "0.meta.json": '{"ask": {"text": "fox"}}', "0.up": "y"}
    archive = pack(tmp_path / "shard.tar", files)
    (unsaid,) = WebDataset(archive)
    assert unsaid.image is None
    assert "it has several images (.before.png and .after.png)" in (unsaid.problem or "")
    columns = {"image": "after.png", "prompt": "meta.json.ask.text", "label": "up"}
    assert said(WebDataset(archive, Reading(columns=columns))) == [("fox", True, paint(1), None)]
    with refused("column-missing", UsageError, naming=["shard.tar", " gone;", "before.png, after.png"]):
        WebDataset(archive, Reading(columns={"rater": "gone"}))


@pytest.mark.parametrize(
    ("files", "problem"),
    [
        ({"0.txt": "fox", "0.cls": "1"}, "it has no image; pack one right beside its other files"),
        ({"0.png": "p", "0.jpg": "p"}, "it has several images (.png and .jpg); name the one to use: --map image=png"),
        ({"0.png": "p", "0.json": "{"}, "its .json is not JSON; correct it"),
        ({"0.png": "p", "0.json": "[" * 100_000}, "its .json is not JSON; correct it"),
        ({"0.png": "p", "0.json": '{"seed": 1' + "0" * 5000 + "}"}, "its .json is not JSON; correct it"),
        ({"0.png": "p", "0.json": "[1]"}, "its .json is not a JSON object; correct it"),
        ({"0.png": "p", "0.txt": b"f\xfcr"}, "its .txt is not UTF-8 text; save it as UTF-8"),
        (
            {"0.png": "p", "0.json": '{"weight": "many"}'},
            "weight 'many' is not a number of at least 0; correct it or leave it empty",
        ),
        ({"0.png": "p", "0.json": '{"rater": [[1]]}'}, "rater [[1]] is no text; name the part that is"),
        ({"../0.png": "p"}, "its .png has a name that leads out of the archive; pack it under a plain name"),
        ({"/etc/0.png": "p"}, "its .png has a name that leads out of the archive; pack it under a plain name"),
        (
            {"a\\..\\0.png": "p"},
            "its ..\\\\0.png has a name that leads out of the archive; pack it under a plain name",
        ),
        ({"0.txt": "x" * 3_000_000}, "its .txt makes its texts larger than 2 MB; make them smaller"),
    ],
)
def test_samples_that_cannot_be_used(tmp_path: Path, paint: Paint, files: Files, problem: str) -> None:
    """The one after it can."""
    bad, good = WebDataset(pack(tmp_path / "shard.tar", {**files, **fox(paint, 7)}))
    assert (bad.problem or "").startswith(problem)
    assert (good.prompt, good.problem) == ("fox 7", None)


def test_a_file_that_is_there_twice(tmp_path: Path, paint: Paint) -> None:
    archive = pack(tmp_path / "shard.tar", fox(paint))
    with tarfile.open(archive, "a") as more:
        more.addfile(tarfile.TarInfo("000.PNG"), io.BytesIO())
    (found,) = WebDataset(archive)
    assert (found.image, found.problem) == (None, "its .png is there twice; keep one")


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE])
def test_members_that_are_no_files(tmp_path: Path, paint: Paint, kind: bytes) -> None:
    (tmp_path / "secret.png").write_bytes(paint(9))
    archive = tmp_path / "shard.tar"
    with tarfile.open(archive, "w") as out:
        info = tarfile.TarInfo("000.png")
        info.type, info.linkname = kind, str(tmp_path / "secret.png")
        out.addfile(info)
        other = tarfile.TarInfo("000.folder.png")
        other.type = tarfile.DIRTYPE
        out.addfile(other)
        for name, data in {"000.txt": b"fox", "001.png": paint(1), "001.txt": b"fox", "001.cls": b"1"}.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            out.addfile(info, io.BytesIO(data))
    bad, good = WebDataset(archive)
    assert (bad.image, bad.problem) == (None, "its .png is a link or a device and no file; pack the file itself")
    assert good.image is not None and good.image() == paint(1)


def test_names_that_no_terminal_could_print(tmp_path: Path) -> None:
    bad = WebDataset(pack(tmp_path / "shard.tar", {"\x1b[31m\u202e.a\x1b.png": "p", "\x1b[31m\u202e.b\x1b.png": "q"}))
    (found,) = bad
    assert (found.where + (found.problem or "")).isprintable()


# --- bombs


def test_an_image_larger_than_any(tmp_path: Path, paint: Paint, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is passed over, and never in memory."""
    monkeypatch.setattr(webdataset_samples, "MAX_BYTES", 10_000)
    read = []
    take = tar_stream.TarStream._take
    monkeypatch.setattr(tar_stream.TarStream, "_take", lambda self, size: read.append(size) or take(self, size))
    archive = pack(tmp_path / "s.tar.gz", {"0.png": bytes(50_000_000), "0.txt": "fox", **fox(paint, 1)}, mode="w:gz")
    assert archive.stat().st_size < 60_000
    bad, good = WebDataset(archive)
    assert bad.problem is not None and bad.problem.startswith("its .png makes its images larger than")
    assert good.prompt == "fox 1"
    assert max(read) == tar_stream.CHUNK


def test_a_sample_of_too_many_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webdataset_samples, "MAX_BYTES", 51_200)
    (found,) = WebDataset(pack(tmp_path / "s.tar", {f"0.{number}.png": "" for number in range(200)}))
    assert (found.problem or "").startswith("its .100.png makes its images larger than")


def test_headers_that_claim_too_much(tmp_path: Path) -> None:
    long = tarfile.TarInfo("x" * 200)
    (tmp_path / "name.tar").write_bytes(_claiming(long.tobuf(tarfile.GNU_FORMAT), 2_000_000))
    huge = tarfile.TarInfo("0.png")
    huge.size = 1 << 50
    (tmp_path / "huge.tar").write_bytes(huge.tobuf(tarfile.GNU_FORMAT))
    for name, size in {"name": "name of 2,000,000 bytes", "huge": "file of 1,125,899"}.items():
        with refused("archive-damaged", naming=size):
            list(WebDataset(tmp_path / f"{name}.tar"))


def _claiming(header: bytes, size: int) -> bytes:
    """A header with another size, and its checksum mended."""
    changed = bytearray(header[:512])
    changed[124:136] = b"%011o\0" % size
    changed[148:156] = b" " * 8
    changed[148:156] = b"%06o\0 " % sum(changed)
    return bytes(changed) + header[512:]


# --- broken archives


def test_archives_that_are_cut_off(tmp_path: Path, paint: Paint) -> None:
    whole = pack(tmp_path / "whole.tar", {**fox(paint, 0), **fox(paint, 1)})
    with tarfile.open(whole) as archive:
        _, _, image, about = archive.getmembers()
    data = whole.read_bytes()
    cut = tmp_path / "cut.tar"
    cut.write_bytes(data[: image.offset_data + 10])
    with refused("archive-damaged", naming=[cut, "cut off after sample 1, 000)"]):
        list(WebDataset(cut))
    cut.write_bytes(data[: about.offset_data + 512])  # what ends an archive is missing, perhaps with files of 001
    with refused("archive-damaged", naming="cut off after sample 1, 000)"):
        list(WebDataset(cut))
    cut.write_bytes(gzip.compress(data)[:-200])
    with refused("archive-damaged", naming="cut off"):
        list(WebDataset(cut))


def test_a_large_image_that_is_cut_off(tmp_path: Path) -> None:
    """What is jumped over, as for the labels, must be there too."""
    files = {"0.png": bytes(3_000_000), "0.txt": "fox", "0.cls": "1"}
    whole = pack(tmp_path / "whole.tar", {"1.png": bytes(3_000_000), "1.txt": "hare", **files})
    first, second = WebDataset(whole)
    assert (first.prompt, second.prompt, second.liked) == ("hare", "fox", True)
    (tmp_path / "cut.tar").write_bytes(whole.read_bytes()[:-2_000_000])
    for with_images in (True, False):
        with refused("archive-damaged", naming="cut off after sample 1, 1)"):
            list(webdataset._samples_in(tmp_path / "cut.tar", frozenset({"txt"}), with_images))


@pytest.mark.parametrize("content", [b"", b"<html>404</html>", b"<html>404</html>" * 100, b"\x1f\x8b and no more" * 50])
def test_what_is_no_archive(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "shard.tar").write_bytes(content)
    with refused("archive-damaged", naming=["shard.tar", "before its first sample)"]):
        list(WebDataset(tmp_path / "shard.tar"))


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_whatever_happened_to_its_bytes(tmp_path: Path, paint: Paint, data: st.DataObject) -> None:
    """Samples, problems or one sentence: nothing else."""
    kind = data.draw(st.sampled_from([tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]))
    long = f"{'é' * 60}/{'x' * 120}"
    archive = pack(tmp_path / "shard.tar", {f"{long}.png": paint(0), f"{long}.txt": "fox", **fox(paint, 1)}, kind)
    whole = bytearray(archive.read_bytes()[: 16 * 512])
    for _ in range(data.draw(st.integers(1, 3))):
        block = data.draw(st.integers(0, 15))
        whole[block * 512 + data.draw(st.integers(0, 511))] = data.draw(st.integers(0, 255))
        if data.draw(st.booleans()):  # so that the damage is not found by the checksum
            whole[block * 512 : block * 512 + 512] = _mended(whole[block * 512 : block * 512 + 512])
    archive.write_bytes(whole)
    try:
        found = list(WebDataset(archive))
    except ThumbtuneError as error:
        assert str(error).endswith(".")
    else:
        assert all(isinstance(each, SourceRow) for each in found)


def _mended(block: bytearray) -> bytearray:
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return block


# --- which archives


def test_folders_and_splits(tmp_path: Path, paint: Paint) -> None:
    for number, name in enumerate(("data/b-train-1.tar", "data/b-train-0.tar.gz", "data/b-test-0.TGZ", "data/.x.tar")):
        pack(tmp_path / name, fox(paint, number), mode="w" if name.endswith("tar") else "w:gz")
    assert webdataset.recognises(tmp_path) and webdataset.recognises(tmp_path / "data")
    assert [each.prompt for each in WebDataset(tmp_path, Reading(split="train"))] == ["fox 1", "fox 0"], "by name"
    assert [each.prompt for each in WebDataset(tmp_path, Reading(split="train", limit=1))] == ["fox 1"]
    with refused("split-needed", UsageError, naming="(test, train)"):
        WebDataset(tmp_path)
    assert [each.prompt for each in WebDataset(tmp_path / "data" / "b-test-0.TGZ")] == ["fox 2"]


def test_names_with_braces(tmp_path: Path, paint: Paint) -> None:
    for number in (9, 10, 11):
        pack(tmp_path / f"s-{number:03}.tar", fox(paint, number))
    assert webdataset.recognises(tmp_path / "s-{009..011}.tar")
    assert [each.prompt for each in WebDataset(tmp_path / "s-{010..009}.tar")] == ["fox 10", "fox 9"]
    assert [each.prompt for each in WebDataset(tmp_path / "s-{011,009}.tar")] == ["fox 11", "fox 9"]
    with refused("shard-missing", naming="s-012.tar"):
        WebDataset(tmp_path / "s-{009..014}.tar")
    with refused("names-too-many", UsageError, naming="100,000"):
        WebDataset(tmp_path / "s-{0..99999999999}.tar")


def test_what_braces_stand_for() -> None:
    assert expanded("a") == ["a"] and expanded("{a}{..}{1..}") == ["{a}{..}{1..}"]
    assert expanded("{8..11}") == ["8", "9", "10", "11"]
    assert expanded("{08..11}x{,b}") == ["08x", "08xb", "09x", "09xb", "10x", "10xb", "11x", "11xb"]


def test_what_is_none(tmp_path: Path) -> None:
    (tmp_path / "folder.tar").mkdir()
    names = ("", "none.tar", "folder.tar", "a\0.tar", "x" * 5000, "s-{0..1}.txt", "\ud800.tar")
    assert [webdataset.recognises(tmp_path / name) for name in names] == [False] * 7
    with refused("shards-missing", naming=[tmp_path, ".tar, .tar.gz, .tgz"]):
        WebDataset(tmp_path)
    with refused("shards-missing", naming="none.tar"):
        WebDataset(tmp_path / "none.tar")


def test_one_sample_at_a_time(tmp_path: Path, paint: Paint) -> None:
    """The end of an archive is not looked at while its beginning is read; nor is it for the labels."""
    whole = pack(tmp_path / "whole.tar", {**fox(paint, 0), **fox(paint, 1), **fox(paint, 2)})
    with tarfile.open(whole) as archive:
        end = archive.getmembers()[-1].offset_data
    (tmp_path / "cut.tar").write_bytes(whole.read_bytes()[:end])
    found = WebDataset(tmp_path / "cut.tar", Reading(limit=1))
    assert [each.prompt for each in found] == ["fox 0"]
