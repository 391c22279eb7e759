"""The whole story in the studio by clicks and keys alone, as a person without a terminal goes through it.

Generate and judge 40 images, train and watch, evaluate and compare, test blindly, export, and a second round that
trains on from the first LoRA. Nothing is asked of the API here; what a page shows is read, and clicked or typed.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from browser import Browser, Page
from opened import signed_in
from running import Studio

PROMPTS = (
    *("a red heart", "a blue heart", "an orange cat", "a blue fish", "a yellow sun"),
    *("a blue car", "a red apple", "a purple tulip", "a yellow dog", "a blue penguin"),
)
PER_PROMPT = 4
IMAGES = len(PROMPTS) * PER_PROMPT
ROUND_PROMPTS, ROUND_PER_PROMPT = 2, 2
RUN, NEXT = "warm", "warm-2"
LONG = 900.0  # seconds for a job, on a busy machine
SEEN = 0.3  # seconds: a blind test takes no quicker answer
# how warm an image is: how much more red than blue; this person likes warm images
WARMTH = """((image) => {
  const canvas = document.createElement('canvas');
  canvas.width = canvas.height = 16;
  const brush = canvas.getContext('2d');
  brush.drawImage(image, 0, 0, 16, 16);
  const pixels = brush.getImageData(0, 0, 16, 16).data;
  let warmth = 0;
  for (let place = 0; place < pixels.length; place += 4) warmth += pixels[place] - pixels[place + 2];
  return warmth;
})"""
IS_WARM = f"{WARMTH}(document.querySelector('#frame img')) > 0"
WARMER = " - ".join(f"{WARMTH}(document.querySelector('#choose-{side} img'))" for side in ("left", "right"))
ON_SCREEN = "document.getElementById('frame').dataset.image"
PAIR = "document.getElementById('choices').dataset.trial"
STATE = "document.getElementById('run-state').textContent"
SENT = "document.getElementById('link').dataset.state === 'on'"


@dataclass
class Story:
    """A person at one page, and how long each chapter took."""

    page: Page
    seconds: dict[str, float] = field(default_factory=dict)
    labels: dict[str, int] = field(default_factory=lambda: {"like": 0, "dislike": 0})

    @contextmanager
    def chapter(self, name: str) -> Iterator[None]:
        """Time the `with` block."""
        begin = time.monotonic()
        yield
        self.seconds[name] = round(time.monotonic() - begin, 1)

    def go(self, title: str) -> None:
        """Click a page in the rail."""
        links = "[...document.querySelectorAll('.rail a')]"
        self.page.click_on(f"{links}.find((one) => one.textContent.trim() === '{title}')")
        self.page.wait_for(f"document.querySelector('[aria-current=page]')?.textContent.trim() === '{title}'")
        self.page.wait_for("document.readyState === 'complete'")

    def arrive(self, path: str) -> None:
        """Wait for the page at a path."""
        self.page.wait_for(f"location.pathname === '{path}' && document.readyState === 'complete'")

    def press_button(self, words: str, inside: str = "body") -> None:
        """Click the button or link with these words, once it is there."""
        buttons = f"[...document.querySelectorAll('{inside} button, {inside} a')]"
        found = f"{buttons}.find((one) => one.offsetParent && one.textContent.trim() === '{words}')"
        self.wait(found)
        self.page.click_on(found)

    def write(self, name: str, text: str) -> None:
        """Click a field, and type over what is in it."""
        self.page.click(f"#{name}")
        self.page.type_over(text)

    def wait(self, sign: str, seconds: float = LONG) -> None:
        """Wait for a sign on the page; a job that failed ends the story."""
        end = time.monotonic() + seconds
        while not self.page.value(f"Boolean({sign})"):
            failed = self.page.value(
                "[...document.querySelectorAll('.card.job, #run')].filter((one) => one.offsetParent && "
                "one.querySelector('[data-state=failed]')).map((one) => one.textContent).join(' ')"
            )
            assert not failed, failed
            assert time.monotonic() < end, f"{sign} stayed false for {seconds:.0f} s"
            time.sleep(0.1)


def tell(
    browser: Browser, studio: Studio, is_short: bool, look: Callable[[str, Page], None] = lambda *_: None
) -> Story:
    """Go through the story, and return its times.

    is_short: a training of few steps, and images of few, as a test has no time for more
    look:     is shown each chapter's page at its end
    """
    story = Story(signed_in(browser, studio.link, "/"))
    chapters: tuple[tuple[str, Callable[[], None]], ...] = (
        ("generate 40", lambda: generate(story, is_short)),
        ("judge 40", lambda: judge(story, IMAGES)),
        ("train and watch", lambda: train(story, is_short)),
        ("evaluate", lambda: evaluate(story)),
        ("compare", lambda: compare(story)),
        ("compare checkpoints", lambda: compare_checkpoints(story)),
        ("blind test", lambda: test_blindly(story)),
        ("export", lambda: export(story)),
        ("next round", lambda: next_round(story)),
        ("judge the round", lambda: judge(story, ROUND_PROMPTS * ROUND_PER_PROMPT)),
        ("train from the last LoRA", lambda: train_on(story)),
    )
    for name, act in chapters:
        with story.chapter(name):
            act()
        look(name, story.page)
    return story


def generate(story: Story, is_short: bool) -> None:
    """Write prompts, and wait for the first image; judging begins while the rest is made."""
    story.press_button("Generate", "main")
    story.arrive("/generate")
    story.write("prompts", "\n".join(PROMPTS))
    story.write("per-prompt", str(PER_PROMPT))
    if is_short:
        story.page.click("details summary")
        story.write("steps", "3")
    story.page.click("#start")
    story.press_button("Judge them", "#jobs")
    story.arrive("/judge")


def judge(story: Story, count: int) -> None:
    """Like warm images, and dislike the others, by keys."""
    page = story.page
    for _ in range(count):
        story.wait(f"{ON_SCREEN} && document.querySelector('#frame img')?.complete")
        image = page.value(ON_SCREEN)
        is_liked = page.value(IS_WARM)
        story.labels["like" if is_liked else "dislike"] += 1
        page.press("ArrowRight" if is_liked else "ArrowLeft")
        page.wait_for(f"{ON_SCREEN} !== '{image}'")
    page.wait_for(SENT)


def train(story: Story, is_short: bool) -> None:
    """Choose the quick preset, start, and watch until it is done."""
    page = story.page
    story.go("Train")
    page.wait_for("document.querySelectorAll('.option').length > 50")
    story.write("name", RUN)
    page.click("[for=preset-quick]")
    if is_short:
        story.write("first-train\\.steps", "6")
    page.click("#start")
    page.wait_for(f"location.hash === '#run={RUN}'")
    story.wait(f"{STATE}.includes('Done')")
    page.wait_for("document.querySelectorAll('#plots svg[role=img]').length >= 3")
    page.wait_for("document.querySelectorAll('#samples img').length > 0")


def evaluate(story: Story) -> None:
    """Ask for the verdict on the run's page, where it appears."""
    story.press_button("Evaluate", "#run-actions")
    story.press_button("Compare with the base", "#run-actions")
    story.arrive("/compare")


def compare(story: Story) -> None:
    """Look at the pairs by keys: the next one, side by side, and in turn."""
    page = story.page
    page.wait_for("document.querySelectorAll('.tiles img').length > 1")
    for key in ("ArrowRight", "s", "s", "x"):
        page.press(key)
    assert page.value("document.getElementById('scores').textContent").startswith("Pair 2 of")


def compare_checkpoints(story: Story) -> None:
    """Generate the images of every checkpoint, and look at one beside the base."""
    page = story.page
    page.click("#mode-grid")
    page.wait_for("document.getElementById('prompts').value.length > 0")
    page.click("#steps label:last-child input")  # of the last step too, which is not ticked, as it is the result
    page.click("#grid-start")
    story.wait("document.getElementById('grid-jobs').textContent.includes('Done')")
    page.wait_for("document.querySelectorAll('#grid img').length > 1 && !document.querySelector('#grid td .quiet')")
    page.click("#grid tbody tr:last-child td:last-child button")
    page.wait_for("!document.getElementById('look').hidden")
    page.click("#mode-evaluation")


def test_blindly(story: Story) -> None:
    """Make a test of the run, answer all pairs by keys, and reveal."""
    page = story.page
    story.press_button("Let people compare them blindly")
    story.arrive("/blind")
    page.wait_for("document.getElementById('source').options.length")
    page.click("#start")
    story.press_button("Begin", "#tests")
    while True:
        page.wait_for(f"{PAIR} || !document.getElementById('done').hidden")
        if (pair := page.value(PAIR)) is None:
            break
        time.sleep(SEEN)
        warmer = page.value(WARMER)
        page.press("1" if warmer > 0 else "2" if warmer < 0 else "0")
        page.wait_for(f"{PAIR} !== '{pair}'")
    page.wait_for(SENT)
    page.click("#done-back")
    story.press_button("End and reveal", "#tests")
    page.click("#sure-yes")
    page.wait_for("!document.getElementById('result').hidden")


def export(story: Story) -> None:
    """Export the feedback, and find the files of the run."""
    page = story.page
    story.go("Export")
    page.wait_for("document.querySelectorAll('#files li').length >= 3")
    page.click("#export-start")
    story.wait("document.querySelector('#exports a')")


def next_round(story: Story) -> None:
    """Generate with the tuned model, from the run's page."""
    page = story.page
    story.go("Train")
    story.press_button(RUN, "#runs")
    story.press_button("Next round", "#run-actions")
    story.write("next-per-prompt", str(ROUND_PER_PROMPT))
    story.write("next-limit", str(ROUND_PROMPTS))
    page.click("#next-start")
    story.wait("document.getElementById('rounds').textContent.includes('Done')")
    story.press_button("Judge them", "#rounds")
    story.arrive("/judge")


def train_on(story: Story) -> None:
    """Train from the last LoRA, and stop once it takes steps."""
    page = story.page
    story.go("Train")
    story.press_button(RUN, "#runs")
    story.press_button("Next round", "#run-actions")
    page.click("#next-train")
    page.wait_for(f"document.getElementById('name').value === '{NEXT}'")
    page.wait_for(f"document.getElementById('option-lora.start')?.value === 'runs/{RUN}'")
    page.click("#start")
    page.wait_for(f"location.hash === '#run={NEXT}'")
    page.wait_for(f"document.getElementById('run-name').textContent === '{NEXT}'")
    story.wait(r"/^[1-9]\d* of/.test(document.getElementById('run-bar').textContent)")
    if "Done" not in page.value(STATE):
        story.press_button("Stop", "#run-actions")
        story.wait(f"{STATE}.includes('Stopped') || {STATE}.includes('Done')")


def lora_of(root: Path, run: str) -> bool:
    """Return whether a run has begun from a LoRA, by its files."""
    return (root / "runs" / run / "own" / "start").is_dir()
