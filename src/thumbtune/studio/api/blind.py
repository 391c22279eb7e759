"""Blind tests: which image of a pair is better, without a name, a size or an address that tells the models apart.

The owner makes a test of a duel and ends it. Until then no answer of the studio holds a side or a score.
"""

import logging
import secrets
import shlex
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import FileResponse, Response

from thumbtune.errors import ThumbtuneError
from thumbtune.evaluation.human.plan import (
    MAX_REPEAT_SHARE,
    MAX_TRIALS,
    QUESTION,
    REPEAT_SHARE,
    StoppingRule,
    StudyDesign,
    Trial,
)
from thumbtune.studio.access import Person
from thumbtune.studio.blind.folder import BlindTest, all_tests, find_test, make_test
from thumbtune.studio.blind.reveal import Revealed, end_if_decided, result_file, reveal, revealed
from thumbtune.studio.blind.sitting import Given, TakenBack, answered, give, sittings
from thumbtune.studio.blind.sources import sources_of
from thumbtune.studio.blind.tickets import PLACES, Ticket
from thumbtune.studio.folder_names import told_to
from thumbtune.studio.folders import folder_with
from thumbtune.studio.people import Anybody, Owner, Studio
from thumbtune.studio.sender import check_sender
from thumbtune.studio.site import Site

router = APIRouter(tags=["blind"])
_log = logging.getLogger(__name__)
SEED_BITS = 63
MAX_ANSWERS = 50
MAX_PAIRS = 500
DAY = 86_400
TestId = Annotated[str, Path(pattern=r"^[0-9a-f]{20}$")]
TrialId = Annotated[str, Path(pattern=r"^[0-9a-f]{20}$")]
TicketName = Annotated[str, Path(min_length=1, max_length=64)]


class SourceView(BaseModel):
    """A finished duel that can be tested. run: the run that it evaluates."""

    id: str
    path: str
    run: str | None
    a: str
    b: str
    command: str


class NewTest(BaseModel):
    """What to test: the id of a source, how many pairs, the share of them that is repeated, and the question."""

    model_config = ConfigDict(extra="forbid")

    source: str = Field(max_length=4000)
    pairs: int = Field(default=MAX_TRIALS, ge=1, le=MAX_PAIRS)
    repeats: float = Field(default=REPEAT_SHARE, ge=0, le=MAX_REPEAT_SHARE)
    question: str = Field(default=QUESTION, min_length=1, max_length=300)
    stop: StoppingRule = Field(
        default="all", description="all: after all pairs; sequential: also once a sequential test decides."
    )


class RaterProgress(BaseModel):
    """How many trials a rater has answered."""

    rater: str
    answered: int


class TestView(BaseModel):
    """A blind test. Only the owner is told what it compares, and how far each rater is.

    fault: why it cannot be read
    """

    id: str
    question: str
    trials: int
    answered: int
    made_at: str
    ended: bool
    stop: StoppingRule
    duel: str | None = None
    a: str | None = None
    b: str | None = None
    raters: list[RaterProgress] = []
    fault: str | None = None


class TrialView(BaseModel):
    """A pair to judge: its text, and addresses of both images, each of which works once."""

    id: str
    words: str
    left: str
    right: str


class Trials(BaseModel):
    """The next trials of a rater, and how many there are and are answered."""

    next: list[TrialView]
    trials: int
    answered: int
    ended: bool


class AnswerBody(BaseModel):
    """An answer. `id` is a UUID of the client's, so that it may be sent again; seconds: how long it took."""

    model_config = ConfigDict(extra="forbid")

    id: UUID
    trial: str = Field(pattern=r"^[0-9a-f]{20}$")
    choice: Literal["left", "right", "tie"]
    seconds: float = Field(ge=0, le=DAY, allow_inf_nan=False)


class UndoBody(BaseModel):
    """Takes an answer back, by its id."""

    model_config = ConfigDict(extra="forbid")

    undoes: UUID


class Answers(BaseModel):
    """Answers and undos, oldest first. `store` and `rater` say for which store and from whom, as `me` tells."""

    model_config = ConfigDict(extra="forbid")

    store: str | None = Field(default=None, max_length=100)
    rater: str | None = Field(default=None, max_length=100)
    answers: list[AnswerBody | UndoBody] = Field(min_length=1, max_length=MAX_ANSWERS)


class AnswerResult(BaseModel):
    """What became of an answer."""

    stored: bool
    code: str | None = None
    message: str | None = None


class AnswerResults(BaseModel):
    """A result for each answer, in their order."""

    results: list[AnswerResult]


class Ending(BaseModel):
    """keep_careless: also count raters who contradict themselves in more than half of their repeats."""

    model_config = ConfigDict(extra="forbid")

    keep_careless: bool = False


class ResultView(BaseModel):
    """The result, as `thumbtune human read --out` writes it; where it was saved; and the command that does the same.

    unsaved: why it could not be saved beside the images
    """

    result: dict[str, Any]
    files: list[str]
    command: str
    unsaved: str | None = None


@router.get("/blind/sources")
def sources(site: Studio, person: Owner) -> list[SourceView]:
    """Return the finished duels below the root, evaluations of runs among them, the last changed first."""
    return [
        SourceView(**vars(source), command=shlex.join(["thumbtune", "human", "export", source.path]))
        for source in sources_of(site)
    ]


@router.get("/blind")
def tests(site: Studio, person: Anybody) -> list[TestView]:
    """Return the blind tests, the newest first, then for the owner those that cannot be read."""
    found, faults = all_tests(site.folder)
    listed = [_listed(site, test, person) for test in found]
    return listed + [_unreadable(fault) for fault in faults] if person.is_owner else listed


@router.post("/blind")
def make(site: Studio, person: Owner, body: NewTest) -> TestView:
    """Make a test of a duel: the sides are balanced, and some pairs are shown twice."""
    duel = folder_with(site, body.source)
    assert site.root is not None
    design = StudyDesign(
        seed=secrets.randbits(SEED_BITS),
        question=body.question,
        trials=body.pairs,
        repeats=body.repeats,
        stop=body.stop,
    )
    return _view(make_test(site.folder, duel, duel.relative_to(site.root).as_posix(), design), person)


@router.get("/blind/images/{ticket}")
def image(site: Studio, person: Anybody, ticket: TicketName) -> Response:
    """Return an image, once: its address says nothing, and all images of a test have the same size in bytes."""
    found = site.tickets.redeem(ticket, person.rater)
    if found is None:
        raise ThumbtuneError("This address was used before; ask for the pair again.", code="blind-used")
    data = _open(site, found.test).image(found.trial, found.place)
    return Response(data, media_type="image/jpeg" if data.startswith(b"\xff\xd8\xff") else "image/png")


@router.get("/blind/{test}/trials")
def trials(site: Studio, person: Anybody, test: TestId, limit: Annotated[int, Query(ge=1, le=50)] = 4) -> Trials:
    """Return the next pairs that the rater has not answered, in an order of the rater's own."""
    found = find_test(site.folder, test)
    done = answered(found, person.rater)
    ended = found.facts.ended_at is not None
    open_ = [] if ended else [trial for trial in found.order(person.rater) if trial.id not in done]
    return Trials(
        next=[_trial(site, found, trial, person) for trial in open_[:limit]],
        trials=found.facts.trials,
        answered=len(done),
        ended=ended,
    )


@router.get("/blind/{test}/trials/{trial}")
def trial(site: Studio, person: Anybody, test: TestId, trial: TrialId) -> TrialView:
    """Return one pair again, with new addresses."""
    found = _open(site, test)
    wanted = next((one for one in found.study.trials if one.id == trial), None)
    if wanted is None:
        raise ThumbtuneError("This pair is not of this blind test; load the page again.", code="blind-no-trial")
    return _trial(site, found, wanted, person)


@router.post("/blind/{test}/answers")
def answers(site: Studio, person: Anybody, test: TestId, body: Answers) -> AnswerResults:
    """Store answers and undos: each once, however often it is sent. The rule may then end the test."""
    check_sender(site, person, store=body.store, rater=body.rater)
    events = [_event(one) for one in body.answers]
    found = find_test(site.folder, test)
    wrong = give(found, person.rater, events)
    try:
        end_if_decided(site, found)
    except ThumbtuneError as error:  # what came is stored all the same; the next answer asks the rule again
        _log.warning("The rule of blind test %s could not be asked: %s", test, error)
    return AnswerResults(results=[AnswerResult(stored=True) if error is None else _refused(error) for error in wrong])


@router.post("/blind/{test}/end")
def end(site: Studio, person: Owner, test: TestId, body: Ending) -> ResultView:
    """End the test and return its result, which is also saved as HTML, JSON and CSV beside the run."""
    return _result(reveal(site, find_test(site.folder, test), body.keep_careless))


@router.get("/blind/{test}/result")
def result(site: Studio, person: Owner, test: TestId) -> ResultView:
    """Return the result of a test that has ended."""
    return _result(revealed(site, find_test(site.folder, test)))


@router.get("/blind/{test}/result/{ending}", response_class=FileResponse)
def result_download(site: Studio, person: Owner, test: TestId, ending: Literal["html", "json", "csv"]) -> FileResponse:
    """Return a file of the result of a test that has ended, to be kept: the policy of pages forbids its own styles."""
    return FileResponse(result_file(find_test(site.folder, test), ending), filename=f"blind-{test}.{ending}")


def _open(site: Site, test: str) -> BlindTest:
    found = find_test(site.folder, test)
    if found.facts.ended_at is not None:
        raise ThumbtuneError("This blind test has ended; no more answers count.", code="blind-ended")
    return found


def _listed(site: Site, test: BlindTest, person: Person) -> TestView:
    try:
        return _view(test, person)
    except ThumbtuneError as error:  # of this test alone
        return _plain(test, 0).model_copy(update={"fault": told_to(person, site, str(error))})


def _unreadable(fault: ThumbtuneError) -> TestView:
    nothing = {"id": "", "question": "A blind test that cannot be read", "trials": 0, "answered": 0, "made_at": ""}
    return TestView(**nothing, ended=True, stop="all", fault=str(fault))


def _plain(test: BlindTest, answered: int) -> TestView:
    facts = test.facts
    return TestView(
        id=facts.id,
        question=facts.question,
        trials=facts.trials,
        answered=answered,
        made_at=facts.made_at,
        ended=facts.ended_at is not None,
        stop=facts.stop,
    )


def _view(test: BlindTest, person: Person) -> TestView:
    facts, plain = test.facts, _plain(test, len(answered(test, person.rater)))
    if not person.is_owner:
        return plain
    raters = [RaterProgress(rater=rater, answered=count) for rater, count in sittings(test)]
    return plain.model_copy(update={"duel": facts.duel, "a": facts.a, "b": facts.b, "raters": raters})


def _trial(site: Site, test: BlindTest, trial: Trial, person: Person) -> TrialView:
    left, right = (
        f"/api/v1/blind/images/{site.tickets.issue(Ticket(person.rater, test.facts.id, trial.id, place))}"
        for place in PLACES
    )
    return TrialView(id=trial.id, words=trial.pair.words, left=left, right=right)


def _event(body: AnswerBody | UndoBody) -> Given | TakenBack:
    if isinstance(body, UndoBody):
        return TakenBack(str(body.undoes))
    return Given(str(body.id), body.trial, body.choice, body.seconds)


def _refused(error: ThumbtuneError) -> AnswerResult:
    return AnswerResult(stored=False, code=error.code, message=str(error))


def _result(found: Revealed) -> ResultView:
    return ResultView(**vars(found))
