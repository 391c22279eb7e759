"""Votes through the API: stored once, in order, in the rater's own name, and for the right store."""

import uuid
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient
from studio_store import Clients

from thumbtune.feedback.store.browsing import history
from thumbtune.feedback.store.judging import Place, next_images, progress
from thumbtune.feedback.store.repeats import agreement_of, further_repeat, is_repeat, repeat_id
from thumbtune.studio.site import Site


def vote(image: int, kind: str = "like", **more: Any) -> dict[str, Any]:
    return {"id": str(uuid.uuid4()), "image": image, "kind": kind, **more}


def send(client: TestClient, *votes: dict[str, Any], **more: Any) -> list[dict[str, Any]]:
    answer = client.post("/api/v1/votes", json={"votes": votes, **more})
    assert answer.status_code == 200, answer.text
    return answer.json()["results"]


def queue(client: TestClient, **query: Any) -> dict[str, Any]:
    return client.get("/api/v1/queue", params=query).json()


def test_the_same_batch_twice_is_one_row_each(client_of: Clients, site: Site) -> None:
    batch = [vote(1), vote(2, "dislike", reason=" blurry "), vote(3, "skip")]
    client = client_of()
    first, second = send(client, *batch), send(client, *batch)
    assert first == second == [{"stored": True, "code": None, "message": None}] * 3
    assert site.store.counts().votes == 3
    (stored,) = history(site.store, 2)
    assert (stored.rater, stored.kind, stored.reason, stored.counts) == ("ann", "dislike", "blurry", True)


def test_one_bad_vote_holds_up_no_other(client_of: Clients, site: Site) -> None:
    good, taken = vote(1), vote(2)
    client = client_of()
    results = send(client, good, vote(99), {**taken, "id": good["id"]}, {"undoes": str(uuid.uuid4())}, vote(4))
    assert [result["code"] for result in results] == [None, "image-missing", "vote-id-taken", "vote-missing", None]
    assert site.store.counts().votes == 2


def test_raters_vote_in_their_own_name_alone(client_of: Clients, site: Site) -> None:
    ann, ben, one = client_of("ann"), client_of("ben"), vote(1)
    send(ann, one)
    send(ben, vote(1, "dislike"))
    assert [result["code"] for result in send(ben, {"undoes": one["id"]})] == ["vote-of-another-rater"]
    assert ben.post(f"/api/v1/votes/{one['id']}/undo", json={}).status_code == 403
    assert {(record.rater, record.kind) for record in history(site.store, 1)} == {("ann", "like"), ("ben", "dislike")}


def test_raters_are_told_no_path_of_the_machine(client_of: Clients, site: Site, tmp_path: Path) -> None:
    missing = {"undoes": str(uuid.uuid4())}
    Path(site.store.address_of(site.store.image(1))).unlink()
    for rater in ("ann", "ben"):
        client = client_of(rater)
        told = [send(client, missing)[0]["message"]]
        told += [client.get(f"/api/v1/images/{image}/thumb").json()["error"]["message"] for image in (99999, 1)]
        assert [str(tmp_path) in sentence for sentence in told] == [rater == "ann"] * 3, told
    assert told[0] == f"The store contains no vote {missing['undoes']}; there is nothing to undo."


def test_votes_of_another_rater_of_this_browser_are_kept_back(client_of: Clients, site: Site) -> None:
    answer = client_of("ben").post("/api/v1/votes", json={"votes": [vote(2)], "rater": "ann"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "studio-other-rater")
    assert "signed in as ben now" in answer.json()["error"]["message"] and site.store.counts().votes == 0
    send(client_of("ben"), vote(2), rater="ben")
    assert [(record.rater, record.kind) for record in history(site.store, 2)] == [("ben", "like")]


def test_votes_for_another_store_are_kept_back(client_of: Clients, site: Site) -> None:
    client = client_of()
    answer = client.post("/api/v1/votes", json={"store": "another", "votes": [vote(1)]})
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "studio-other-store")
    send(client, vote(1), store=site.mark)
    assert site.store.counts().votes == 1


def test_undo_and_vote_again(client_of: Clients, site: Site) -> None:
    client, first, again = client_of(), vote(1, "dislike"), vote(1)
    send(client, first, {"undoes": first["id"]}, {"undoes": first["id"]}, again)
    assert [(record.kind, record.counts) for record in history(site.store, 1)] == [("dislike", False), ("like", True)]
    assert client.post(f"/api/v1/votes/{again['id']}/undo", json={}).json()["stored"]
    assert client.get("/api/v1/counts").json() == {
        "images": 12,
        "likes": 0,
        "dislikes": 0,
        "skips": 0,
        "left": 12,
        "jobs": 0,
    }


def test_the_time_of_a_vote_orders_it(client_of: Clients, site: Site) -> None:
    late, early = "2026-01-02T00:00:00+00:00", "2026-01-01T00:00:00+00:00"
    send(client_of(), vote(1, "like", at=late), vote(1, "dislike", at=early))
    counting = [record.kind for record in history(site.store, 1) if record.counts]
    assert counting == ["like"]
    (first, _) = history(site.store, 1)
    assert first.created_at == datetime(2026, 1, 2, tzinfo=UTC)


@pytest.mark.parametrize(
    "batch",
    [
        {"votes": []},
        {"votes": [vote(1) for _ in range(51)]},
        {"votes": [{"id": "1", "image": 1, "kind": "like"}]},
        {"votes": [vote(0)]},
        {"votes": [vote(2**63)]},
        {"votes": [vote(1, "love")]},
        {"votes": [vote(1, at="0001-01-01T00:00:00+14:00")]},
        {"votes": [vote(1, at="2026-01-01T00:00:00")]},
        {"votes": [vote(1, reason="x" * 2001)]},
        [],
        "votes",
    ],
)
def test_what_is_no_batch_is_refused_and_nothing_stored(client_of: Clients, site: Site, batch: Any) -> None:
    answer = client_of().post("/api/v1/votes", json=batch)
    assert (answer.status_code, answer.json()["error"]["code"]) == (422, "studio-invalid")
    assert site.store.counts().votes == 0


def test_texts_that_databases_do_not_take_are_refused(client_of: Clients, site: Site) -> None:
    results = send(client_of(), vote(1, reason="\0"))
    body = f'{{"votes": [{{"id": "{uuid.uuid4()}", "image": 1, "kind": "like", "reason": "\\ud800"}}]}}'
    answer = client_of().post("/api/v1/votes", content=body, headers={"content-type": "application/json"})
    assert results[0]["code"] == "text-zero-byte" and answer.status_code == 422
    assert site.store.counts().votes == 0


def test_each_rater_has_an_order_of_their_own_that_stays(client_of: Clients) -> None:
    ann, ben = client_of("ann"), client_of("ben")
    first = [image["id"] for image in queue(ann, limit=12)["images"]]
    assert sorted(first) == list(range(1, 13)) and first != sorted(first)
    assert first == [image["id"] for image in queue(ann, limit=12)["images"]]
    assert first != [image["id"] for image in queue(ben, limit=12)["images"]]
    send(ann, *(vote(image) for image in first[:4]))
    assert [image["id"] for image in queue(ann, limit=3)["images"]] == first[4:7]
    send(ann, {"undoes": send_id(ann, first[4])})
    assert queue(ann, limit=1)["images"][0]["id"] == first[4]


def send_id(client: TestClient, image: int) -> str:
    one = vote(image)
    send(client, one)
    return one["id"]


@pytest.mark.parametrize("order", ["random", "newest"])
def test_pages_of_the_queue_follow_each_other(client_of: Clients, order: str) -> None:
    client, pages, after = client_of(), [], None
    while True:
        query = {"limit": 5, "order": order} | ({"after": after} if after else {})
        page = queue(client, **query)
        if not page["images"]:
            break
        pages.append([image["id"] for image in page["images"]])
        after = page["after"]
    assert [len(page) for page in pages] == [5, 5, 2] and page["after"] is None
    assert sorted(chain(*pages)) == list(range(1, 13))
    assert order == "random" or list(chain(*pages)) == list(range(12, 0, -1))


def test_a_repeat_measures_and_changes_no_label(client_of: Clients, site: Site) -> None:
    client, first = client_of(), vote(1, "dislike")
    send(client, first)
    again = repeat_id(first["id"])
    assert is_repeat(again) and not is_repeat(first["id"])
    before = progress(site.store, "ann")
    send(client, vote(1) | {"id": again}, vote(1) | {"id": again})
    assert [(record.kind, record.counts) for record in history(site.store, 1)] == [("dislike", True), ("like", False)]
    assert progress(site.store, "ann") == before
    agreement = agreement_of(site.store, "ann")
    assert (agreement.repeats, agreement.agreed) == (1, 0)
    stray = vote(2) | {"id": repeat_id(str(uuid.uuid4()))}
    assert [result["code"] for result in send(client, stray)] == ["repeat-of-none"]
    assert [result["code"] for result in send(client_of("ben"), vote(1) | {"id": again})] == ["repeat-of-none"]


def test_after_an_undo_a_repeat_is_given_again_and_the_last_one_measures(client_of: Clients, site: Site) -> None:
    client, first = client_of(), vote(1, "dislike")
    again = repeat_id(first["id"])
    further = further_repeat(again)
    send(client, first, vote(1) | {"id": again}, {"undoes": again})
    before = progress(site.store, "ann")
    results = send(client, vote(1, "dislike") | {"id": further}, vote(1, "dislike") | {"id": further})
    assert [result["stored"] for result in results] == [True, True] and is_repeat(further)
    assert [(record.kind, record.counts) for record in history(site.store, 1) if record.counts] == [("dislike", True)]
    assert progress(site.store, "ann") == before
    agreement = agreement_of(site.store, "ann")
    assert (agreement.repeats, agreement.agreed) == (1, 1)
    send(client, vote(1) | {"id": further_repeat(further)})  # after a look back: the one before stands too
    agreement = agreement_of(site.store, "ann")
    assert (agreement.repeats, agreement.agreed) == (1, 0)
    assert further_repeat(f"{again[:-4]}ffff") == f"{again[:-4]}0000"


def test_places_compare_by_place_and_then_by_image(site: Site) -> None:
    images = next_images(site.store, "ann", 12)
    places = [(place.place, place.image) for place, _ in images]
    assert places == sorted(places)
    after = next_images(site.store, "ann", 12, after=Place(*places[3]))
    assert [image.id for _, image in after] == [image.id for _, image in images[4:]]


def test_the_owner_sees_how_many_jobs_are_at_work(client_of: Clients) -> None:
    owner = client_of()
    numbers = [owner.post("/api/v1/jobs/generate", json={"prompts": [words]}).json()["id"] for words in ("a", "b")]
    assert owner.get("/api/v1/counts").json()["jobs"] == 2
    assert client_of("ben").get("/api/v1/counts").json()["jobs"] == 0
    owner.post(f"/api/v1/jobs/{numbers[0]}/stop", json={})
    assert owner.get("/api/v1/counts").json()["jobs"] == 1
