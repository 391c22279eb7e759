"""Who is let in: hosts, origins, forms, roles, tokens."""

import pytest
from refusals import refused
from starlette.testclient import TestClient
from studio_store import HOST, Clients

from thumbtune.studio.access import Access, Attempts, Person, people_of
from thumbtune.studio.app import bare_app
from thumbtune.studio.guard import Guard
from thumbtune.studio.site import Site, is_known_host, is_loopback

BROWSER = {"origin": HOST, "sec-fetch-site": "same-origin"}


def code(answer: object) -> str:
    return answer.json()["error"]["code"]  # type: ignore[attr-defined]


def test_a_link_signs_in_by_a_cookie_that_scripts_and_other_sites_do_not_get(client_of: Clients, site: Site) -> None:
    client = client_of(None)
    assert client.get("/").headers["location"] == "/welcome"
    answer = client.get("/welcome", params={"token": site.access.token_of(site.owner)})
    cookie = answer.headers["set-cookie"]
    assert answer.status_code == 200 and "Welcome, ann" in answer.text
    assert cookie.startswith(f"{site.cookie}=owner.") and "HttpOnly" in cookie and "SameSite=strict" in cookie
    assert client.get("/api/v1/me").json() == {"rater": "ann", "role": "owner", "store": site.mark}


def test_a_wrong_link_and_an_address_that_is_not_there_are_pages_for_browsers(client_of: Clients) -> None:
    html = {"accept": "text/html,*/*"}
    door = client_of(None).get("/welcome", params={"token": "wrong"}, headers=html)
    assert door.status_code == 401 and "Sign in" in door.text and "ask the owner for a new one" in door.text
    assert "set-cookie" not in door.headers
    assert code(client_of(None).get("/welcome", params={"token": "wrong"})) == "studio-wrong-token"
    page = client_of().get("/nowhere", headers=html)
    assert page.status_code == 404 and "No such page" in page.text and page.headers["content-type"][:9] == "text/html"
    assert code(client_of().get("/nowhere")) == "studio-no-such-address"
    assert code(client_of().get("/api/v1/nowhere", headers=html)) == "studio-no-such-address"


def test_without_a_cookie_there_is_only_the_door(client_of: Clients) -> None:
    client = client_of(None)
    for path in ("/api/v1/me", "/api/v1/counts", "/openapi.json", "/docs", "/judge"):
        assert client.get(path).status_code in (401, 303), path
    assert client.get("/welcome").status_code == 200 and client.get("/static/studio.css").status_code == 200
    assert client.get("/static/%2e%2e/app.py").status_code == 404


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example:8421", "localhost.evil.example", "", "[::1"])
def test_other_hosts_are_refused(client_of: Clients, host: str) -> None:
    answer = client_of().get("/api/v1/me", headers={"host": host})
    assert (answer.status_code, code(answer)) == (421, "studio-other-host")


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"},
        {"origin": "http://127.0.0.1:9000", "sec-fetch-site": "same-site"},
        {"origin": "null"},
        {"origin": "http://["},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site", "sec-fetch-mode": "no-cors"},
        {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"},
    ],
)
def test_other_pages_may_not_ask_the_api(client_of: Clients, headers: dict[str, str]) -> None:
    answer = client_of().get("/api/v1/me", headers=headers)
    assert (answer.status_code, code(answer)) == (403, "studio-other-origin")


def test_a_person_may_follow_a_link_to_a_page(client_of: Clients) -> None:
    link = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}
    assert client_of().get("/judge", headers=link).status_code == 200


def test_a_cookie_alone_changes_nothing_without_the_headers_of_a_browser(client_of: Clients, site: Site) -> None:
    client = client_of(None)
    client.cookies.set(site.cookie, site.access.cookie_of(site.owner))
    body = {"token": site.access.token_of(site.owner)}
    assert code(client.post("/api/v1/session", json=body)) == "studio-no-origin"
    assert client.post("/api/v1/session", json=body, headers=BROWSER).status_code == 200


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""])
def test_only_json_is_taken(client_of: Clients, kind: str) -> None:
    answer = client_of().post("/api/v1/session", content=b'{"token": "x"}', headers={"content-type": kind})
    assert (answer.status_code, code(answer)) == (415, "studio-not-json")


def test_large_bodies_are_refused_with_and_without_their_length(client_of: Clients) -> None:
    form = {"content-type": "application/json"}
    said = client_of().post("/api/v1/session", content=b" " * 1_000_001, headers=form)
    unsaid = client_of().post("/api/v1/session", content=(b" " * 600_000 for _ in range(2)), headers=form)
    assert said.status_code == 413 and code(said) == "studio-too-large"
    assert (unsaid.status_code, code(unsaid)) == (413, "studio-too-large")


def test_a_rater_only_judges(client_of: Clients) -> None:
    ben = client_of("ben")
    assert ben.get("/").headers["location"] == "/judge" and "Home" not in ben.get("/judge").text
    assert code(ben.get("/openapi.json")) == "studio-owner-only"
    assert client_of().get("/openapi.json").status_code == 200


def test_wrong_tokens_make_an_address_wait() -> None:
    now = [0.0]
    attempts = Attempts(lambda: now[0])
    for _ in range(10):
        assert not attempts.must_wait("a")
        attempts.add("a")
    assert attempts.must_wait("a") and not attempts.must_wait("b")
    now[0] = 60.1
    assert not attempts.must_wait("a")
    attempts.add("b")
    assert len(attempts) == 1 and not attempts.must_wait("b")  # a was forgotten


def test_the_door_counts_wrong_tokens_and_lets_right_ones_in(client_of: Clients, site: Site) -> None:
    client = client_of(None, **BROWSER)
    answers = [client.post("/api/v1/session", json={"token": f"guess {number}"}) for number in range(11)]
    assert [answer.status_code for answer in answers] == [401] * 10 + [429]
    right = {"token": site.access.token_of(site.owner)}
    assert client.post("/api/v1/session", json=right).status_code == 200
    assert client_of().get("/api/v1/me").status_code == 200
    assert client_of(None).get("/welcome", params=right).status_code == 200


@pytest.mark.parametrize("cookies", ['prefs={"a":1}; {}', "x=a b; {}", "l=\xfc; {}", 'k:"; {}', '{}; k:"', "a,b=c; {}"])
def test_cookies_of_other_programs_of_this_machine_sign_nobody_out(
    client_of: Clients, site: Site, cookies: str
) -> None:
    ours = f"{site.cookie}={site.access.cookie_of(site.owner)}"
    header = cookies.replace("{}", ours).encode("latin-1")
    assert client_of(None).get("/api/v1/me", headers={"cookie": header}).json()["rater"] == "ann"  # type: ignore[dict-item]


def test_a_fault_of_ours_is_a_sentence_without_its_traceback(site: Site) -> None:
    def broken() -> None:
        raise RuntimeError("a secret")

    app = bare_app(site)
    app.add_api_route("/api/v1/session/broken", broken)
    answer = TestClient(Guard(app, site), HOST, raise_server_exceptions=False).get("/api/v1/session/broken")
    assert (answer.status_code, code(answer)) == (500, "studio-failed") and "secret" not in answer.text
    assert answer.headers["cache-control"] == "no-store"


def test_tokens_stay_the_same_and_tell_nothing_of_another_key() -> None:
    people = [Person("ann", "owner"), Person("ben", "rater")]
    first, again, other = Access(b"k" * 32, people), Access(b"k" * 32, people), Access(b"l" * 32, people)
    token = first.token_of(people[1])
    assert again.by_token(token) == people[1] and other.by_token(token) is None
    assert first.by_cookie(first.cookie_of(people[0])) == people[0]
    assert first.by_cookie(first.cookie_of(Person("eve", "owner"))) is None
    assert first.by_cookie(token) is None and first.by_token(first.cookie_of(people[0])) is None


def test_names_of_raters() -> None:
    assert [(p.rater, p.role) for p in people_of([" ann ", "ben"])] == [("ann", "owner"), ("ben", "rater")]
    with refused("studio-rater-twice", naming="ann"):
        people_of(["ann", "ann"])
    for name in ("", " ", "a\nb", "x" * 61):
        with refused("studio-bad-rater"):
            people_of([name])


def test_which_hosts_are_ours() -> None:
    assert all(
        is_known_host(host, []) for host in ("localhost", "localhost:1", "127.0.0.1:8", "[::1]:8", "192.168.1.2:8")
    )
    assert is_known_host("Studio.example:8", ["studio.example"]) and not is_known_host("studio.example", [])
    assert (
        is_loopback("::1") and is_loopback("127.0.0.9") and not is_loopback("0.0.0.0") and not is_loopback("x.example")
    )
