"""The page of a human test: one file, no request, nothing that tells a side, and prompts that stay text."""

import base64
import hashlib
import inspect
import io
import json
import re
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pytest
from browser import needs_chromium
from PIL import Image, PngImagePlugin
from refusals import refused

from thumbtune.evaluation.human.answers import read_answer_file
from thumbtune.evaluation.human.plan import Pair, Questionnaire, Study, StudyDesign, plan_study
from thumbtune.report import human_page as module
from thumbtune.report.human_page import encode_pair, human_page

HOSTILE = [
    "</script><script>alert(1)</script>",
    "<!--<script>",
    "\"quotes\" & 'more' <b>bold</b> &lt;",
    "]]>  \\u003c ${x} `",
]
DOT = "data:image/png;base64," + base64.b64encode(b"dot").decode()


def study(count: int = 4) -> Study:
    pairs = [
        Pair(prompt=p, words=HOSTILE[p % len(HOSTILE)], seed=9000 + p, a=f"a/{p}.png", b=f"b/{p}.png")
        for p in range(count)
    ]
    return plan_study(
        pairs, StudyDesign(seed=1, a="base-model", b="tuned-model", question='Which <i>one</i> is "better"?')
    )


def page(asked: Questionnaire) -> str:
    return human_page(asked, {name: (DOT, DOT) for name, _ in asked.trials})


class Read(HTMLParser):
    """Tags with their attributes, and the text of scripts and of the title."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, list[str]] = {"script": [], "title": [], "h1": []}
        self.inside = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self.inside = tag
        if tag in self.texts:
            self.texts[tag].append("")

    def handle_endtag(self, tag: str) -> None:
        self.inside = ""

    def handle_data(self, data: str) -> None:
        if self.inside in self.texts:
            self.texts[self.inside][-1] += data


def test_prompts_and_question_stay_text() -> None:
    asked = study().questionnaire
    read = Read(page(asked))
    data, script = read.texts["script"]
    told = json.loads(data)
    assert [(one["id"], one["words"]) for one in told["trials"]] == list(asked.trials)
    assert not re.search("[<>&']", data), "nothing in it can end the element, whatever a prompt says"
    assert "alert(1)" not in script
    assert read.texts["title"] == [asked.question] == [read.texts["h1"][0]]
    assert not {"i", "b", "iframe", "object"} & {tag for tag, _ in read.tags}


def test_nothing_is_requested_from_anywhere() -> None:
    text = page(study().questionnaire)
    read = Read(text)
    policy = next(found["content"] for tag, found in read.tags if found.get("http-equiv") == "Content-Security-Policy")
    digest = base64.b64encode(hashlib.sha256(read.texts["script"][1].encode()).digest()).decode()
    assert policy is not None and policy.startswith("default-src 'none'; img-src data:;")
    assert f"script-src 'sha256-{digest}';" in policy, "no other script runs"
    assert not {"link", "base", "iframe", "video", "audio"} & {tag for tag, _ in read.tags}
    assert not [found for _, found in read.tags if {"src", "href", "action", "srcset"} & set(found)]
    assert not re.search(
        r"https?:|//[a-z]|url\(|@import|fetch\(|XMLHttp|sendBeacon|WebSocket|import\(", strip_notes(text)
    )


def strip_notes(text: str) -> str:
    return re.sub(r"(?m)^\s*//.*$|\s// .*$", "", text)


def test_the_page_tells_no_side() -> None:
    """Exchange the sides of every trial: the page is the same, byte for byte, if the images are."""
    made = study(12)
    text = page(made.questionnaire)
    for told in ("base-model", "tuned-model", "a/0", "b/0", "9000", '"repeats"', '"prompt"', '"seed"'):
        assert told not in text
    assert set(json.loads(Read(text).texts["script"][0])) == {"form", "study", "trials"}
    assert {frozenset(one) for one in json.loads(Read(text).texts["script"][0])["trials"]} == {
        frozenset({"id", "words", "left", "right"})
    }


def test_no_function_of_the_page_is_given_a_study() -> None:
    source = inspect.getsource(module)
    assert "Study" not in source and "Trial" not in source
    assert "evaluation.human.plan import Questionnaire\n" in source


def test_the_script_finds_every_element_that_it_asks_for() -> None:
    read = Read(page(study().questionnaire))
    ids = {found["id"] for _, found in read.tags if "id" in found}
    script = read.texts["script"][1]
    asked = set(re.findall(r'(?:\bat|getElementById)\("([a-z]+)"\)', script))
    assert {"words", "back", "json", "download"} <= asked <= ids
    assert {"left", "right", "tie"} <= ids


def test_it_is_accessible() -> None:
    read = Read(page(study().questionnaire))
    assert ("html", {"lang": "en"}) in read.tags
    pressed = {found["id"] for tag, found in read.tags if tag == "button"}
    assert {"left", "right", "tie", "back", "stop", "begin", "download", "copy"} <= pressed
    assert [found["alt"] for tag, found in read.tags if tag == "img"] == ["First image", "Second image"]
    labelled = {found["for"] for tag, found in read.tags if tag == "label"}
    assert labelled == {"rater", "json"}
    text = page(study().questionnaire)
    assert "prefers-reduced-motion" in text and "prefers-color-scheme: dark" in text and ":focus-visible" in text


def test_a_trial_without_images_is_told() -> None:
    asked = study().questionnaire
    with refused("human-trial-without-images", naming=asked.trials[0][0]):
        human_page(asked, {})


# --- images


def decoded(uri: str) -> tuple[bytes, Image.Image]:
    data = base64.b64decode(uri.partition(",")[2])
    return data, Image.open(io.BytesIO(data))


def save(path: Path, size: tuple[int, int], mode: str = "RGB", colour: object = "red", **options: object) -> Path:
    Image.new(mode, size, colour).save(path, **options)  # type: ignore[arg-type]
    return path


def test_files_and_metadata_do_not_get_through(tmp_path: Path) -> None:
    info = PngImagePlugin.PngInfo()
    info.add_text("parameters", "side b, tuned")
    exif = Image.Exif()
    exif[0x010E] = "side b, tuned"
    pairs = [
        (save(tmp_path / "a.png", (300, 300), pnginfo=info, icc_profile=b"side b, tuned"), tmp_path / "a.png"),
        (save(tmp_path / "b.jpg", (300, 300), exif=exif, comment=b"side b, tuned"), tmp_path / "b.jpg"),
        (save(tmp_path / "s.png", (30, 30), pnginfo=info, icc_profile=b"side b, tuned"), tmp_path / "s.png"),
    ]
    for pair in pairs:
        for uri in encode_pair(*pair):
            data, image = decoded(uri)
            assert b"tuned" not in data
            assert set(image.info) <= {"jfif", "jfif_version", "jfif_unit", "jfif_density"}
    png, jpeg = encode_pair(tmp_path / "a.png", tmp_path / "b.jpg")
    assert png[:30] == jpeg[:30] == "data:image/jpeg;base64,/9j/4AA", "one kind, whatever the files were"


@pytest.mark.parametrize(
    ("left", "right", "shown"),
    [
        ((512, 512), (512, 512), [(512, 512), (512, 512)]),
        ((512, 512), (1024, 1024), [(512, 512), (512, 512)]),
        ((2000, 1000), (1000, 2000), [(768, 384), (384, 768)]),
        ((64, 64), (64, 64), [(64, 64), (64, 64)]),
        ((900, 2), (900, 900), [(768, 2), (768, 768)]),
        ((5000, 1), (900, 900), [(768, 1), (768, 768)]),
    ],
)
def test_both_images_are_of_one_size_and_kind(
    tmp_path: Path, left: tuple[int, int], right: tuple[int, int], shown: list[tuple[int, int]]
) -> None:
    made = [decoded(u)[1] for u in encode_pair(save(tmp_path / "l.png", left), save(tmp_path / "r.png", right))]
    assert [image.size for image in made] == shown
    assert len({(image.format, image.mode) for image in made}) == 1
    assert made[0].format == ("PNG" if max(shown[0]) <= 128 else "JPEG")


def test_what_is_transparent_is_white_on_both_sides(tmp_path: Path) -> None:
    clear = save(tmp_path / "l.png", (8, 8), "RGBA", (255, 0, 0, 0))
    palette = Image.new("P", (8, 8), 0)
    palette.putpalette([0, 0, 0, 255, 255, 255])
    palette.save(tmp_path / "r.png", transparency=0)
    for uri in encode_pair(clear, tmp_path / "r.png"):
        assert decoded(uri)[1].getcolors() == [(64, (255, 255, 255))]


@pytest.mark.parametrize("content", [None, b"", b"no picture", b"\x89PNG\r\n\x1a\n\x00\x00\x00\x0dIHDR"])
def test_an_image_that_cannot_be_read_is_told(tmp_path: Path, content: bytes | None) -> None:
    good, bad = save(tmp_path / "good.png", (8, 8)), tmp_path / "bad.png"
    if content is not None:
        bad.write_bytes(content)
    with refused("image-unreadable", naming="bad.png"):
        encode_pair(good, bad)


# --- in a browser

CLICKS = """
<script>
  const wait = (ms) => new Promise((done) => setTimeout(done, ms));
  const at = (id) => document.getElementById(id);
  const press = (key) => document.dispatchEvent(new KeyboardEvent("keydown", { key }));
  (async () => {
    at("rater").value = "Zoë";
    at("begin").click();
    const seen = [];
    for (let i = 0; at("end").hidden; i += 1) {
      while (at("choices").classList.contains("waiting")) await wait(50);
      await wait(300);
      seen.push(at("words").textContent);
      press(i === 2 ? "Backspace" : ["ArrowLeft", "ArrowRight", " "][i % 3]);
    }
    document.body.dataset.words = seen.join("|");
    document.body.dataset.answers = at("json").value;
  })();
</script>
</body>"""


@pytest.mark.slow
@needs_chromium
@pytest.mark.parametrize("storage", ["allowed", "denied"])
def test_answers_given_in_a_browser_are_read(tmp_path: Path, storage: str) -> None:
    made = study(12)
    uri = encode_pair(save(tmp_path / "l.png", (64, 64)), save(tmp_path / "r.png", (64, 64), colour="blue"))
    text = human_page(made.questionnaire, {trial.id: uri for trial in made.trials})
    text = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", text)  # the clicks are another script
    if storage == "denied":
        deny = 'Object.defineProperty(window, "localStorage", { get() { throw Error("denied"); } });'
        text = text.replace("<head>", f"<head><script>{deny}</script>")
    (tmp_path / "copy.html").write_text(text.replace("</body>", CLICKS), encoding="utf-8")
    command = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}"]
    command += ["--virtual-time-budget=600000", "--dump-dom", (tmp_path / "copy.html").as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    body = next(found for tag, found in Read(done.stdout).tags if tag == "body")
    (tmp_path / "answers.json").write_text(body["data-answers"] or "", encoding="utf-8")
    ballot = read_answer_file(tmp_path / "answers.json", made.questionnaire)
    assert (ballot.rater, len(ballot.answers), ballot.finished is None) == ("Zoë", len(made.trials), False)
    choices = [answer.choice for answer in ballot.answers]
    steps = ["left", "right", "tie"]
    # key 2 goes back from the third pair to the second, which key 3 answers anew
    assert choices == ["left"] + [steps[i % 3] for i in range(3, len(choices) + 2)]
    words = [said for _, said in made.questionnaire.trials]
    assert (body["data-words"] or "").split("|") == [*words[:3], *words[1:]]
