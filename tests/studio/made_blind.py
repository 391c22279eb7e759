"""Blind tests of a duel in `duel`, made without a page: one that has ended, and one that is open."""

from pathlib import Path

from made_runs import a_duel
from studio_store import png

from thumbtune.evaluation.human.plan import StudyDesign
from thumbtune.studio.blind.folder import BlindTest, make_test
from thumbtune.studio.blind.reveal import reveal
from thumbtune.studio.blind.sitting import Given, give
from thumbtune.studio.site import Site, open_site

PROMPTS = 12


def blind_tests(likes: Path, root: Path) -> None:
    """An ended test and an open one of twelve pairs, in the store's folder of the studio."""
    a_duel(root / "duel", PROMPTS, lambda side, prompt: png(prompt + 100 * (side == "b"), 64))
    site = open_site(str(likes), root=root, raters=["me", "ben"])
    with site.store:
        ended = one_test(site, 1)
        for rater, slips in (("me", 2), ("ben", 4)):
            answer(ended, rater, slips)
        reveal(site, ended)
        begun = one_test(site, 2)
        give(begun, "ben", [Given("ben-0", begun.study.trials[0].id, "tie", 1.0)])


def one_test(site: Site, seed: int) -> BlindTest:
    """A new test of that duel."""
    assert site.root is not None
    return make_test(site.folder, site.root / "duel", "duel", StudyDesign(seed=seed))


def answer(test: BlindTest, rater: str, slips: int = 0) -> None:
    """Answer all pairs of a test for B, but for some: for A."""
    chosen = {trial.id: trial.left for trial in test.study.trials}
    given = []
    for place, trial in enumerate(test.study.trials):
        wanted = "a" if place < slips else "b"
        given.append(Given(f"{rater}-{place}", trial.id, "left" if chosen[trial.id] == wanted else "right", 2.5))
    assert give(test, rater, given) == [None] * len(given)
