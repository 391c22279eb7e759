"""Raters of the page: they get in, stay after a restart, and are out at once when they are removed."""

import asyncio
import json
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from refusals import refused
from starlette.datastructures import Headers
from starlette.testclient import TestClient
from studio_store import HOST, Clients

from thumbtune.feedback.store import jobs as rows
from thumbtune.studio.access import Access, Person
from thumbtune.studio.api.jobs import _stream
from thumbtune.studio.app import make_app
from thumbtune.studio.guard import is_still_in
from thumbtune.studio.jobs.events import Cursor
from thumbtune.studio.roster import MAX_ADDED, RATERS_FILE, Roster, RosterFile
from thumbtune.studio.site import Site, open_site

BROWSER = {"origin": HOST, "sec-fetch-site": "same-origin"}


def token_in(answer: Any) -> str:
    return answer.json()["path"].removeprefix("/welcome?token=")


def added(owner: TestClient, name: str) -> tuple[str, str]:
    """Add a rater; return their id and their token."""
    made = owner.post("/api/v1/raters", json={"name": name})
    assert made.status_code == 201, made.text
    return made.json()["id"], token_in(owner.get(f"/api/v1/raters/{made.json()['id']}/link"))


def with_token(site: Site, token: str) -> TestClient:
    headers = {"authorization": f"Bearer {token}"}
    return TestClient(make_app(site), base_url=HOST, headers=headers, follow_redirects=False)


def with_cookie(site: Site, value: str) -> TestClient:
    return TestClient(make_app(site), base_url=HOST, cookies={site.cookie: value}, follow_redirects=False)


def test_an_added_rater_judges_and_is_told_apart_from_the_named_ones(client_of: Clients, site: Site) -> None:
    owner = client_of()
    _, token = added(owner, "  eve ")
    eve = with_token(site, token)
    assert eve.get("/api/v1/me").json()["rater"] == "eve" and eve.get("/api/v1/me").json()["role"] == "rater"
    assert eve.get("/api/v1/raters").status_code == 403 and eve.get("/train").headers["location"] == "/judge"
    mine = eve.get("/settings").text  # their keys and theme, and nothing of the owner's
    assert 'id="keys-one"' in mine and 'id="theme"' in mine and owner.get("/settings").text.count('class="card"') == 6
    assert mine.count('class="card"') == 2 and not any(part in mine for part in ("policies", "backup", "Add a rater"))
    assert eve.get("/api/v1/about").status_code == eve.get("/api/v1/label-policies").status_code == 403
    listed = [(each["name"], each["role"], each["named"]) for each in owner.get("/api/v1/raters").json()]
    assert listed == [("ann", "owner", "command"), ("ben", "rater", "command"), ("eve", "rater", "page")]


def test_what_the_page_sets_survives_a_restart(client_of: Clients, site: Site) -> None:
    owner = client_of()
    _, eve = added(owner, "eve")
    ben = site.access.id_of(Person("ben", "rater"))
    old, new = site.access.token_of(Person("ben", "rater")), token_in(owner.post(f"/api/v1/raters/{ben}/link", json={}))
    again = open_site(site.likes, root=site.root, raters=["ann", "ben"])
    with again.store:
        assert [person.rater for person in again.access.people] == ["ann", "ben", "eve"]
        assert again.access.by_token(eve) == Person("eve", "rater")
        assert again.access.by_token(new) == Person("ben", "rater") and again.access.by_token(old) is None
    others = open_site(site.likes, root=site.root, raters=["eve", "ann"])  # now eve is the owner, once
    with others.store:
        assert [(each.rater, each.role) for each in others.access.people] == [("eve", "owner"), ("ann", "rater")]
        assert others.access.by_token(eve) is None


def test_a_removed_rater_is_out_at_once_and_a_new_one_of_that_name_has_another_link(
    client_of: Clients, site: Site
) -> None:
    owner = client_of()
    name, token = added(owner, "eve")
    cookie = site.access.cookie_of(Person("eve", "rater"))
    by_token, by_cookie = with_token(site, token), with_cookie(site, cookie)
    assert by_token.get("/api/v1/counts").status_code == by_cookie.get("/api/v1/counts").status_code == 200
    left = owner.post(f"/api/v1/raters/{name}/remove", json={})
    assert [each["name"] for each in left.json()] == ["ann", "ben"]
    assert by_token.get("/api/v1/counts").status_code == by_cookie.get("/api/v1/counts").status_code == 401
    for gone in (name, "é", "eve"):
        assert owner.get(f"/api/v1/raters/{gone}/link").status_code == 404
    assert "eve" not in (site.folder / RATERS_FILE).read_text()
    _, another = added(owner, "eve")
    assert another != token and site.access.by_token(token) is None and site.access.by_cookie(cookie) is None


def test_another_studio_on_the_store_knows_of_it_at_once(client_of: Clients, site: Site) -> None:
    owner = client_of()
    with open_site(site.likes, raters=["ann"]).store as store:
        other = open_site(site.likes, raters=["ann"])
        name, token = added(owner, "eve")
        assert other.access.by_token(token) == Person("eve", "rater")
        owner.post(f"/api/v1/raters/{name}/remove", json={})
        assert other.access.by_token(token) is None
        other.store.close()
        store.close()


def test_a_new_link_ends_the_old_one_and_its_cookies(client_of: Clients, site: Site) -> None:
    ben, owner = Person("ben", "rater"), client_of()
    old, cookie, name = site.access.token_of(ben), site.access.cookie_of(ben), site.access.id_of(ben)
    shown = owner.get(f"/api/v1/raters/{name}/link")
    assert token_in(shown) == old and shown.headers["cache-control"] == "no-store"
    new = token_in(owner.post(f"/api/v1/raters/{name}/link", json={}))
    assert new != old and site.access.by_token(new) == ben
    assert site.access.by_token(old) is None and site.access.by_cookie(cookie) is None
    assert with_token(site, site.access.token_of(site.owner)).get("/api/v1/me").status_code == 200  # nobody else's


def test_the_owner_who_makes_a_new_link_stays_signed_in(site: Site) -> None:
    client = TestClient(make_app(site), base_url=HOST, headers=BROWSER)
    client.post("/api/v1/session", json={"token": site.access.token_of(site.owner)})
    before = client.cookies[site.cookie]
    assert client.post(f"/api/v1/raters/{site.access.id_of(site.owner)}/link", json={}).status_code == 200
    assert client.cookies[site.cookie] != before and client.get("/api/v1/raters").status_code == 200
    assert with_cookie(site, before).get("/api/v1/me").status_code == 401


@pytest.mark.parametrize(
    ("name", "status", "code"),
    [
        ("ben", 409, "studio-rater-twice"),
        (" ann ", 409, "studio-rater-twice"),
        ("  ", 400, "studio-bad-rater"),
        ("a\nb", 400, "studio-bad-rater"),
        ("x" * 61, 400, "studio-bad-rater"),
        ("x" * 10_001, 422, "studio-invalid"),
    ],
)
def test_names_that_cannot_be_added(client_of: Clients, site: Site, name: str, status: int, code: str) -> None:
    answer = client_of().post("/api/v1/raters", json={"name": name})
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
    assert not (site.folder / RATERS_FILE).exists()


def test_the_raters_of_the_command_are_not_removed_on_the_page(client_of: Clients, site: Site) -> None:
    for person in site.access.people:
        answer = client_of().post(f"/api/v1/raters/{site.access.id_of(person)}/remove", json={})
        assert (answer.status_code, answer.json()["error"]["code"]) == (409, "studio-named-rater")
    assert len(site.access.people) == 2


def test_a_list_of_raters_that_cannot_be_read_lets_nobody_in(client_of: Clients, site: Site) -> None:
    owner = client_of()
    added(owner, "eve")
    for text in ("{", "[]", json.dumps({"form": 2, "added": [], "salts": {}}), json.dumps({"form": 1, "added": [1]})):
        (site.folder / RATERS_FILE).write_text(text)
        answer = owner.get("/api/v1/me")
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "studio-raters-unreadable"), text
    with refused("studio-raters-unreadable", naming=site.folder / RATERS_FILE):
        open_site(site.likes)


def test_a_page_takes_a_number_of_raters() -> None:
    roster = Roster()
    for number in range(MAX_ADDED):
        roster = roster.with_rater(str(number), str(number))
    with refused("studio-many-raters", naming=MAX_ADDED):
        roster.with_rater("one more", "mark")


def test_salts_are_random_and_part_of_links_alone_where_there_is_one(tmp_path: Path) -> None:
    ann = Person("ann", "owner")
    plain, salted = Access(b"k" * 32, [ann]), Access(b"k" * 32, [ann], RosterFile(tmp_path))
    assert salted.token_of(ann) == plain.token_of(ann)  # links of before stay
    tokens = {salted.token_of(ann)}
    for number in range(3):
        salted.renew(ann)
        tokens.add(salted.token_of(ann))
        assert len(tokens) == number + 2
    assert salted.mark_of("x") == plain.mark_of("x")  # votes that wait in browsers are for the same store


def test_a_change_that_fails_leaves_the_list_as_it_was(tmp_path: Path) -> None:
    roster = RosterFile(tmp_path)
    roster.change(lambda before: before.with_rater("eve", "mark"))
    before = (tmp_path / RATERS_FILE).read_bytes()
    with pytest.raises(ZeroDivisionError):
        roster.change(lambda _: Roster(added=("x",) * (1 // 0)))
    assert (tmp_path / RATERS_FILE).read_bytes() == before and roster.read().added == ("eve",)
    os.utime(tmp_path / RATERS_FILE)
    assert roster.read().added == ("eve",)


def test_a_removed_rater_is_told_so_and_their_stream_of_events_ends(client_of: Clients, site: Site) -> None:
    owner, eve = client_of(), Person("eve", "rater")
    name, token = added(owner, "eve")
    cookie = site.access.cookie_of(eve)
    ways = [Headers({"authorization": f"Bearer {token}"}), Headers({"cookie": f"{site.cookie}={cookie}"})]
    assert [is_still_in(site, way, eve) for way in ways] == [True, True]
    job = rows.add_job(site.store, "train", "runs/first", {"settings": {}})

    async def watched(way: Headers) -> list[str]:
        async def stays() -> bool:
            return len(seen) > 2

        seen: list[str] = []
        async for event in _stream(SimpleNamespace(headers=way, is_disconnected=stays), site, eve, job.id, Cursor()):  # type: ignore[arg-type]
            seen.append(event)
            if len(seen) == 2:
                break
        return seen

    assert len(asyncio.run(watched(ways[0]))) == 2
    assert "ask the owner" not in with_cookie(site, cookie).get("/welcome").text
    assert owner.post(f"/api/v1/raters/{name}/remove", json={}).status_code == 200
    assert [is_still_in(site, way, eve) for way in ways] == [False, False]
    assert asyncio.run(watched(ways[0])) == ["retry: 2000\n\n"]
    assert "Your link was ended; ask the owner" in with_cookie(site, cookie).get("/welcome").text
    assert "Your link was ended" not in client_of(None).get("/welcome").text


def test_a_roster_whose_folder_cannot_be_made_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with refused("studio-raters-unwritable", naming=RATERS_FILE):
        RosterFile(tmp_path / "file" / "studio").change(lambda roster: roster)
