"""Blind tests through the API: planned and evaluated by `thumbtune human`, and silent before the end."""

import csv
import io
import json
import uuid
from pathlib import Path
from typing import Any

import pytest
from made_runs import a_duel, a_run, evaluate
from PIL import Image
from starlette.testclient import TestClient
from studio_store import Clients, png

from thumbtune.errors import ThumbtuneError
from thumbtune.evaluation.human.key import read_key
from thumbtune.evaluation.human.plan import Study
from thumbtune.report.human_study import read_study
from thumbtune.studio.blind.folder import BlindTest, find_test
from thumbtune.studio.site import Site

PROMPTS = 12


def one_colour(side: str, prompt: int) -> bytes:
    return png(prompt + 100 * (side == "b"))


@pytest.fixture
def test_id(site: Site, client_of: Clients) -> str:
    """A blind test of twelve pairs, two of them shown twice."""
    assert site.root is not None
    a_duel(site.root / "duels" / "first", PROMPTS, one_colour)
    (source,) = client_of().get("/api/v1/blind/sources").json()
    assert (source["path"], source["a"], source["b"], source["run"]) == ("duels/first", "base", "tuned", None)
    answer = client_of().post("/api/v1/blind", json={"source": source["id"]})
    assert answer.status_code == 200, answer.text
    return answer.json()["id"]


def test_a_test_ends_by_itself_when_its_rule_decides(site: Site, client_of: Clients) -> None:
    assert site.root is not None
    a_duel(site.root / "duel", PROMPTS, one_colour)
    (source,) = client_of().get("/api/v1/blind/sources").json()
    made = client_of().post("/api/v1/blind", json={"source": source["id"], "stop": "sequential", "repeats": 0}).json()
    test, study = made["id"], study_of(site, made["id"])
    assert (made["stop"], study.stop) == ("sequential", "sequential")
    for place, one in enumerate(find_test(site.folder, test).order("ben")):
        choice = "left" if one.left == "b" else "right"
        told = send(client_of("ben"), test, answer(one.id, choice))
        assert told[0]["stored"] == (place < 8)  # eight of eight decide
        assert client_of("ben").get(f"/api/v1/blind/{test}/trials").json()["ended"] == (place >= 7)
    result = client_of().get(f"/api/v1/blind/{test}/result").json()["result"]
    assert result["sequential"]["decided"] == "b" and result["sequential"]["decided_at"] == 8
    assert "as the rule that was set before decided at prompt 8" in result["sentences"][0]
    page = (site.root / "duel" / "blind" / f"{test}.html").read_text()
    assert "decided at prompt 8" in page and "whenever the test ends" in page


def test_an_undo_does_not_free_a_prompt_of_the_rule(site: Site, client_of: Clients) -> None:
    assert site.root is not None
    a_duel(site.root / "duel", PROMPTS, one_colour)
    (source,) = client_of().get("/api/v1/blind/sources").json()
    made = client_of().post("/api/v1/blind", json={"source": source["id"], "stop": "sequential", "repeats": 0}).json()
    test = made["id"]
    for_b = [(one.id, "left" if one.left == "b" else "right") for one in study_of(site, test).trials]
    first = answer(for_b[0][0], "right" if for_b[0][1] == "left" else "left")  # for A
    send(client_of(), test, first, {"undoes": first["id"]}, answer(*for_b[0]))
    # Ben answered when Ann had begun, and she has been away: his answers stay before her later ones
    for pair in for_b[1:9]:
        send(client_of("ben"), test, answer(*pair))
    assert client_of().get(f"/api/v1/blind/{test}/trials").json()["ended"] is False  # 8 of 9 give E = 5.7
    for pair in for_b[9:]:
        send(client_of(), test, answer(*pair))
    (file,) = [one for one in find_test(site.folder, test).answers.iterdir() if '"ann"' in one.read_text()]
    record = json.loads(file.read_text())
    assert record["answers"][0]["choice"] == for_b[0][1] and record["arrivals"][0]["choice"] == first["choice"]
    told = client_of().get(f"/api/v1/blind/{test}/result").json()  # 10 of 11: E = 15.5; 11 of 12: 26.3
    assert (told["result"]["sequential"]["decided_at"], told["result"]["sequential"]["a"]) == (12, 1)
    assert told["command"].endswith(" --keep-careless")  # the rule counts all raters


def test_a_clock_that_is_set_back_changes_no_order_of_arrival(
    site: Site, client_of: Clients, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert site.root is not None
    a_duel(site.root / "duel", PROMPTS, one_colour)
    (source,) = client_of().get("/api/v1/blind/sources").json()
    made = client_of().post("/api/v1/blind", json={"source": source["id"], "stop": "sequential", "repeats": 0}).json()
    test, clock = made["id"], ["2026-05-01T12:00:00+00:00"]
    monkeypatch.setattr("thumbtune.studio.blind.sitting._now", lambda: clock[-1])
    for_b = [(one.id, "left" if one.left == "b" else "right") for one in study_of(site, test).trials]
    send(client_of(), test, answer(for_b[0][0], "right" if for_b[0][1] == "left" else "left"))  # for A
    for number, pair in enumerate(for_b[1:9]):
        clock.append(f"2026-05-01T11:00:0{number}+00:00")  # an hour back, and then on
        send(client_of("ben"), test, answer(*pair))
    # in the order of arrival A has the first of nine, and E is 5.7; by the clock, eight of eight came first: 28.4
    assert client_of().get(f"/api/v1/blind/{test}/trials").json()["ended"] is False
    times = {
        json.loads(file.read_text())["rater"]: [one["at"] for one in json.loads(file.read_text())["arrivals"]]
        for file in find_test(site.folder, test).answers.iterdir()
    }
    assert times["ann"] == ["2026-05-01T12:00:00+00:00"]
    assert times["ben"] == [f"2026-05-01T12:00:00.{number:06}+00:00" for number in range(1, 9)]
    clock.append("2026-05-01T12:30:00+00:00")
    send(client_of("ben"), test, answer(*for_b[9]))
    assert clock[-1] in "".join(file.read_text() for file in find_test(site.folder, test).answers.iterdir())


def test_a_file_of_before_gets_arrivals_when_an_answer_comes(site: Site, client_of: Clients, test_id: str) -> None:
    one, two = (answer(trial["id"]) for trial in next_of(client_of(), test_id, 2))
    send(client_of(), test_id, one)
    (file,) = find_test(site.folder, test_id).answers.iterdir()
    before = {key: value for key, value in json.loads(file.read_text()).items() if key != "arrivals"}
    file.write_text(json.dumps(before))
    send(client_of(), test_id, two)
    assert [each["id"] for each in json.loads(file.read_text())["arrivals"]] == [one["trial"], two["trial"]]


def test_a_rule_that_decided_ends_the_test_also_where_its_result_cannot_be_saved(
    site: Site, client_of: Clients
) -> None:
    assert site.root is not None
    a_duel(site.root / "duel", PROMPTS, one_colour)
    (source,) = client_of().get("/api/v1/blind/sources").json()
    made = client_of().post("/api/v1/blind", json={"source": source["id"], "stop": "sequential", "repeats": 0}).json()
    test, order = made["id"], find_test(site.folder, made["id"]).order("ben")
    beside = site.root / "duel" / "blind"
    beside.write_text("no folder")
    for one in order[:8]:  # eight of eight decide
        assert send(client_of("ben"), test, answer(one.id, "left" if one.left == "b" else "right"))[0]["stored"]
    late = send(client_of("ben"), test, answer(order[8].id))
    assert [one["code"] for one in late] == ["blind-ended"]
    told = client_of().get(f"/api/v1/blind/{test}/result").json()
    assert told["result"]["sequential"]["decided_at"] == 8 and told["files"] == []
    assert told["unsaved"].startswith("The result lies in the studio alone") and str(beside) in told["unsaved"]
    beside.unlink()
    (find_test(site.folder, test).folder / "result.json").unlink()  # as if that one had not been saved either
    again = client_of().get(f"/api/v1/blind/{test}/result").json()
    assert (again["unsaved"], again["result"]) == (None, told["result"])
    assert again["files"] == [f"duel/blind/{test}.{ending}" for ending in ("csv", "html", "json")]


def test_answers_are_stored_when_the_rule_cannot_be_asked(
    site: Site, client_of: Clients, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    assert site.root is not None
    a_duel(site.root / "duel", PROMPTS, one_colour)
    (source,) = client_of().get("/api/v1/blind/sources").json()
    test = client_of().post("/api/v1/blind", json={"source": source["id"], "stop": "sequential"}).json()["id"]

    def fails(site: Site, test: BlindTest) -> bool:
        raise ThumbtuneError("The disk is full.", code="file-unwritable")

    monkeypatch.setattr("thumbtune.studio.api.blind.end_if_decided", fails)
    first = next_of(client_of("ben"), test)[0]["id"]
    assert send(client_of("ben"), test, answer(first))[0]["stored"] and "The disk is full." in caplog.text
    assert next_of(client_of("ben"), test)[0]["id"] != first


def study_of(site: Site, test: str) -> Study:
    return find_test(site.folder, test).study


def answer(trial: str, choice: str = "left", **more: Any) -> dict[str, Any]:
    return {"id": str(uuid.uuid4()), "trial": trial, "choice": choice, "seconds": 1.5, **more}


def send(client: TestClient, test: str, *answers: dict[str, Any]) -> list[dict[str, Any]]:
    told = client.post(f"/api/v1/blind/{test}/answers", json={"answers": answers})
    assert told.status_code == 200, told.text
    return told.json()["results"]


def next_of(client: TestClient, test: str, limit: int = 50) -> list[dict[str, Any]]:
    return client.get(f"/api/v1/blind/{test}/trials", params={"limit": limit}).json()["next"]


def prefer(site: Site, client: TestClient, test: str, side: str) -> None:
    """Answer all trials for a side, as only somebody with the key can."""
    choices = {trial.id: "left" if trial.left == side else "right" for trial in study_of(site, test).trials}
    for trial in next_of(client, test):
        send(client, test, answer(trial["id"], choices[trial["id"]]))


def test_each_rater_has_an_order_of_their_own_with_repeats_later(site: Site, client_of: Clients, test_id: str) -> None:
    orders = {rater: [trial["id"] for trial in next_of(client_of(rater), test_id)] for rater in ("ann", "ben")}
    study = study_of(site, test_id)
    assert orders["ann"] != orders["ben"]
    assert orders["ann"] == [trial["id"] for trial in next_of(client_of("ann"), test_id)], "the same after a reload"
    for order in orders.values():
        assert sorted(order) == sorted(trial.id for trial in study.trials) and len(order) == PROMPTS + 2
        for trial in study.trials:
            if trial.repeats is not None:
                assert order.index(trial.id) > order.index(trial.repeats) + 1
    send(client_of("ann"), test_id, *(answer(trial) for trial in orders["ann"][:3]))
    assert [trial["id"] for trial in next_of(client_of("ann"), test_id, 2)] == orders["ann"][3:5]
    assert len(next_of(client_of("ben"), test_id)) == PROMPTS + 2


@pytest.mark.slow
def test_the_images_are_those_of_the_plan_and_each_address_works_once(
    site: Site, client_of: Clients, test_id: str
) -> None:
    assert site.root is not None
    study = {trial.id: trial for trial in study_of(site, test_id).trials}
    sizes = set()
    for trial in next_of(client_of(), test_id):
        for place, file in zip(("left", "right"), study[trial["id"]].files, strict=True):
            told = client_of().get(trial[place])
            sent = Image.open(io.BytesIO(told.content)).convert("RGB")
            kept = Image.open(site.root / "duels" / "first" / file).convert("RGB")
            assert sent.tobytes() == kept.tobytes()
            sizes.add(len(told.content))
            again = client_of().get(trial[place])
            assert (again.status_code, again.json()["error"]["code"]) == (410, "blind-used")
    assert len(sizes) == 1
    (trial,) = next_of(client_of(), test_id, 1)
    assert client_of("ben").get(trial["left"]).status_code == 410, "it is ann's"
    assert client_of().get(trial["left"]).status_code == 200


def test_answers_are_stored_once_and_taken_back(site: Site, client_of: Clients, test_id: str) -> None:
    client = client_of()
    first, second = (answer(trial["id"]) for trial in next_of(client, test_id, 2))
    stored = {"stored": True, "code": None, "message": None}
    assert send(client, test_id, first, second) == send(client, test_id, first, second) == [stored] * 2
    send(client, test_id, {"undoes": first["id"]})
    send(client, test_id, first)  # sent again, after a lost answer: it stays taken back
    (file,) = find_test(site.folder, test_id).answers.iterdir()
    assert [one["id"] for one in json.loads(file.read_text())["answers"]] == [second["trial"]]
    again = answer(first["trial"], "tie")
    send(client, test_id, again, {**again, "id": str(uuid.uuid4()), "choice": "right"})
    answers = {one["id"]: one["choice"] for one in json.loads(file.read_text())["answers"]}
    assert answers == {second["trial"]: "left", first["trial"]: "right"}, "the last one counts"
    results = send(client, test_id, answer("0" * 20), answer(first["trial"]))
    assert [result["code"] for result in results] == ["blind-no-trial", None]


def test_the_result_is_that_of_the_command_and_lies_beside_the_images(
    site: Site, client_of: Clients, test_id: str, tmp_path: Path
) -> None:
    assert site.root is not None
    prefer(site, client_of("ann"), test_id, "b")
    prefer(site, client_of("ben"), test_id, "a")
    told = client_of().post(f"/api/v1/blind/{test_id}/end", json={}).json()
    test = find_test(site.folder, test_id)
    assert told["result"] == json.loads(json.dumps(read_study(test.key, [test.answers])))
    overall = told["result"]["overall"]
    assert overall["votes"] == [PROMPTS, 0, PROMPTS] and overall["rate"]["rate"] == 0.5
    assert [rater["share"] for rater in told["result"]["raters"]] == [1.0, 0.0]
    assert told["files"] == [f"duels/first/blind/{test_id}.{ending}" for ending in ("csv", "html", "json")]
    table, page, numbers = ((site.root / file).read_text(encoding="utf-8") for file in told["files"])
    assert json.loads(numbers) == told["result"]
    rows = list(csv.DictReader(io.StringIO(table)))
    assert [(row["B: tuned"], row["no preference"], row["A: base"]) for row in rows] == [("1", "0", "1")] * PROMPTS
    assert "Not enough evidence" in page and "thing 11" in page and "<script" not in page
    assert told["command"].startswith("thumbtune human read ") and str(test.key) in told["command"]
    assert client_of().get(f"/api/v1/blind/{test_id}/result").json() == told
    kept = client_of().get(f"/api/v1/blind/{test_id}/result/html")
    assert kept.text == page and kept.headers["content-disposition"].startswith("attachment")
    assert client_of("ben").get(f"/api/v1/blind/{test_id}/result/csv").status_code == 403
    assert client_of().get(f"/api/v1/blind/{test_id}/result/key").status_code == 422
    assert client_of().post(f"/api/v1/blind/{test_id}/end", json={}).json() == told, "the same each time"


def test_nothing_of_the_key_leaves_the_studio_before_the_end(site: Site, client_of: Clients, test_id: str) -> None:
    for rater in ("ann", "ben"):
        client = client_of(rater)
        trials = client.get(f"/api/v1/blind/{test_id}/trials").json()
        assert set(trials) == {"next", "trials", "answered", "ended"}
        assert all(set(trial) == {"id", "words", "left", "right"} for trial in trials["next"])
        prefer(site, client, test_id, "b")
        refused = client.get(f"/api/v1/blind/{test_id}/result")
        assert refused.status_code == (409 if rater == "ann" else 403)
    owner, other = (client_of(rater).get("/api/v1/blind").json()[0] for rater in ("ann", "ben"))
    assert owner["raters"] == [{"rater": rater, "answered": PROMPTS + 2} for rater in ("ann", "ben")]
    assert "tuned" not in json.dumps(other) and other["raters"] == []
    assert not list(find_test(site.folder, test_id).folder.glob("result*"))
    assert client_of().get(f"/api/v1/blind/{test_id}/result/json").status_code == 409


def test_answers_of_another_rater_of_this_browser_are_kept_back(site: Site, client_of: Clients, test_id: str) -> None:
    body = {"answers": [answer(next_of(client_of("ben"), test_id, 1)[0]["id"])], "rater": "ann"}
    told = client_of("ben").post(f"/api/v1/blind/{test_id}/answers", json=body)
    assert (told.status_code, told.json()["error"]["code"]) == (409, "studio-other-rater")
    assert not list(find_test(site.folder, test_id).answers.iterdir())
    assert client_of("ben").post(f"/api/v1/blind/{test_id}/answers", json=body | {"rater": "ben"}).status_code == 200


def test_an_ended_test_takes_no_answers_and_shows_no_images(site: Site, client_of: Clients, test_id: str) -> None:
    client, (trial,) = client_of(), next_of(client_of(), test_id, 1)
    early = client.post(f"/api/v1/blind/{test_id}/end", json={})
    assert (early.status_code, early.json()["error"]["code"]) == (409, "blind-no-answers")
    prefer(site, client_of("ben"), test_id, "b")
    assert client.post(f"/api/v1/blind/{test_id}/end", json={}).status_code == 200
    assert [result["code"] for result in send(client, test_id, answer(trial["id"]))] == ["blind-ended"]
    assert client.get(trial["left"]).status_code == 409
    assert client.get(f"/api/v1/blind/{test_id}/trials").json()["next"] == []


def test_raters_who_contradict_themselves_are_counted_only_if_asked(
    site: Site, client_of: Clients, test_id: str
) -> None:
    client = client_of()
    send(client, test_id, *(answer(trial["id"], "left") for trial in next_of(client, test_id)))
    told = client.post(f"/api/v1/blind/{test_id}/end", json={})
    assert (told.status_code, told.json()["error"]["code"]) == (409, "human-all-careless")
    told = client.post(f"/api/v1/blind/{test_id}/end", json={"keep_careless": True}).json()["result"]
    assert (told["bias"]["left"], told["bias"]["right"]) == (PROMPTS + 2, 0)


def test_no_rater_makes_a_test_too_large_to_be_read(
    site: Site, client_of: Clients, test_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("thumbtune.studio.blind.sitting.MAX_EVENTS", 4)
    ben, (first, second, *_) = client_of("ben"), next_of(client_of("ben"), test_id)
    given = answer(first["id"])
    undos = [{"undoes": str(uuid.uuid4())} for _ in range(4)]
    told = send(ben, test_id, given, *undos, given, answer(second["id"]))
    assert [one["stored"] for one in told] == [True] * 4 + [False, True, False]
    assert {one["code"] for one in told if not one["stored"]} == {"blind-many-answers"}
    assert send(ben, test_id, {"undoes": given["id"]})[0]["stored"] and next_of(ben, test_id)[0]["id"] == first["id"]
    monkeypatch.setattr("thumbtune.studio.blind.sitting.MAX_ANSWER_BYTES", 100)
    monkeypatch.setattr("thumbtune.studio.blind.sitting.MAX_EVENTS", 100)
    (file,) = find_test(site.folder, test_id).answers.iterdir()
    before = file.read_text()
    body = {"answers": [answer(second["id"])]}
    refusal = client_of("ann").post(f"/api/v1/blind/{test_id}/answers", json=body)
    assert refusal.json()["error"]["code"] == "blind-many-answers" and refusal.status_code == 409
    assert [one.read_text() for one in find_test(site.folder, test_id).answers.iterdir()] == [before]


def test_a_damaged_file_of_answers_hides_one_test_and_its_path_from_raters(
    site: Site, client_of: Clients, test_id: str
) -> None:
    (source,) = client_of().get("/api/v1/blind/sources").json()
    other = client_of().post("/api/v1/blind", json={"source": source["id"]}).json()["id"]
    send(client_of("ben"), test_id, answer(next_of(client_of("ben"), test_id, 1)[0]["id"]))
    (file,) = find_test(site.folder, test_id).answers.iterdir()
    file.write_text("{}")
    for rater in ("ann", "ben"):
        faults = {one["id"]: one["fault"] for one in client_of(rater).get("/api/v1/blind").json()}
        assert faults[other] is None and "cannot be read" in faults[test_id]
        assert (str(site.folder) in faults[test_id]) == (rater == "ann")
    told = client_of("ben").get(f"/api/v1/blind/{test_id}/trials").json()["error"]
    assert told["code"] == "blind-answers-damaged" and str(site.folder.parent) not in told["message"]
    assert told["message"].startswith(f"The studio's folder/blind/{test_id}/answers/")
    (find_test(site.folder, test_id).folder / "test.json").write_text("{}")
    told = {rater: [one["fault"] for one in client_of(rater).get("/api/v1/blind").json()] for rater in ("ann", "ben")}
    assert told["ben"] == [None] and told["ann"][0] is None and "test.json is damaged" in told["ann"][1]


def test_only_the_owner_makes_and_ends_tests(client_of: Clients, test_id: str) -> None:
    ben = client_of("ben")
    for told in (
        ben.get("/api/v1/blind/sources"),
        ben.post("/api/v1/blind", json={"source": ""}),
        ben.post(f"/api/v1/blind/{test_id}/end", json={}),
        ben.get(f"/api/v1/blind/{test_id}/result"),
    ):
        assert told.status_code == 403
    assert ben.get("/blind").status_code == 200 and ben.get("/compare").headers["location"] == "/judge"
    page = ben.get("/blind").text
    assert 'href="/judge"' in page and 'href="/train"' not in page and "New blind test" not in page


def test_what_is_no_duel_or_no_test_is_refused(site: Site, client_of: Clients) -> None:
    assert site.root is not None
    (site.root / "pictures").mkdir()
    folders = client_of().get("/api/v1/folders").json()["folders"]
    told = client_of().post("/api/v1/blind", json={"source": folders[0]["id"]})
    assert (told.status_code, told.json()["error"]["code"]) == (400, "duel-unfinished")
    assert client_of().post("/api/v1/blind", json={"source": "../etc"}).status_code == 400
    assert client_of().get(f"/api/v1/blind/{'0' * 20}/trials").status_code == 404
    assert client_of().get("/api/v1/blind/..%2f..%2f/trials").status_code == 404
    assert not list((site.folder / "blind").glob("*")), "nothing half-made"


def test_a_test_of_an_evaluated_run_lies_in_the_run(site: Site, client_of: Clients) -> None:
    assert site.root is not None
    a_run(site.root)
    evaluate(site.root)
    (source,) = client_of().get("/api/v1/blind/sources").json()
    assert (source["run"], source["path"]) == ("first", "runs/first/evaluation")
    assert source["command"] == "thumbtune human export runs/first/evaluation"
    test = client_of().post("/api/v1/blind", json={"source": source["id"]}).json()
    assert (test["a"], test["b"], test["trials"]) == ("tiny-emoji-64", "runs/first", 2)
    send(client_of(), test["id"], answer(next_of(client_of(), test["id"], 1)[0]["id"], "tie"))
    files = client_of().post(f"/api/v1/blind/{test['id']}/end", json={}).json()["files"]
    assert files[0] == f"runs/first/blind/{test['id']}.csv"


def test_the_key_in_the_studios_folder_is_one_of_the_command(site: Site, test_id: str) -> None:
    study = read_key(site.folder / "blind" / test_id / "key.json")
    lefts = [trial.left for trial in study.first_showings]
    assert (study.id, lefts.count("a")) == (test_id, PROMPTS / 2)
