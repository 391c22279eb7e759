"""The API of jobs, runs and recipes, without processes: what is asked for, refused, and told."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from made_runs import a_run, evaluate
from studio_store import Clients, png

from thumbtune.feedback.store import jobs as rows
from thumbtune.runs.recipe import Recipe, read_recipe, write_recipe
from thumbtune.runs.to_store import stored
from thumbtune.sides import PIPELINE_UNIT
from thumbtune.studio.jobs.wording import in_studio
from thumbtune.studio.jobs.work import queue_of
from thumbtune.studio.recipe_form import PRESETS, PresetName, options_of, preset_settings, text_of
from thumbtune.studio.site import Site

JOBS = "/api/v1/jobs"
BROWSER = {"origin": "http://127.0.0.1:8421", "sec-fetch-site": "same-origin"}


def code_of(answer: Any) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["code"]


@pytest.mark.slow
def test_a_generation_becomes_a_job_with_its_command(client: TestClient, site: Site) -> None:
    answer = client.post(f"{JOBS}/generate", json={"prompts": ["a red  fox", " "], "per_prompt": 2, "name": "foxes"})
    assert answer.status_code == 201
    told = answer.json()
    likes = site.store.where
    assert told["command"] == (
        f"thumbtune generate --out images/foxes --likes {likes} --seeds 2 --first-seed 0 -- 'a red fox'"
    )
    assert (told["state"], told["kind"], told["done"], told["total"]) == ("waiting", "generate", 0, 2)
    assert client.get(f"{JOBS}/{told['id']}").json() == told
    assert [each["id"] for each in client.get(JOBS, params={"kind": "generate"}).json()] == [told["id"]]
    assert client.get(JOBS, params={"kind": "train"}).json() == []


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"prompts": []}, 422),
        ({"prompts": [" "]}, 400),
        ({"prompts": ["a\0b"]}, 400),
        ({"prompts": ["a \ud800 b"]}, 422),
        ({"prompts": ["a"], "name": "../x"}, 400),
        ({"prompts": ["a"], "run": ".."}, 400),
        ({"prompts": ["a"], "run": "missing"}, 404),
        ({"prompts": ["a"], "model": "/etc/passwd"}, 400),
        ({"prompts": ["a"], "model": "../x"}, 400),
        ({"prompts": ["a"], "model": "a/b", "run": "x"}, 400),
        ({"prompts": ["a"], "size": "--out"}, 422),
        ({"prompts": ["a"], "per_prompt": 65}, 422),
        ({"prompts": ["a"], "guidance": "NaN"}, 422),
        ({"prompts": ["a"] * 201}, 422),
    ],
)
def test_generations_that_are_refused(client: TestClient, body: Any, status: int) -> None:
    answer = client.post(f"{JOBS}/generate", content=json.dumps(body), headers={"content-type": "application/json"})
    assert answer.status_code == status, answer.text
    assert client.get(JOBS).json() == []


def test_a_training_is_checked_before_it_waits(client: TestClient, site: Site) -> None:
    body = {"name": "first", "settings": {"train.steps": "4", "objective.beta": "auto"}}
    told = client.post(f"{JOBS}/train/check", json=body).json()
    assert told["command"].endswith("--set train.steps=4 --set objective.beta=auto")
    assert told["recipe"] == f"likes: {site.store.where}\ntrain:\n  steps: 4\nobjective:\n  beta: auto\n"
    assert client.get(JOBS).json() == []
    answer = client.post(f"{JOBS}/train", json=body)
    assert (answer.status_code, answer.json()["total"]) == (201, 4)
    assert code_of(client.post(f"{JOBS}/train", json=body)) == (409, "job-busy")


def test_prompts_count_once_and_unknown_words_are_asked_about(client: TestClient, site: Site) -> None:
    body = {"prompts": ["a red  apple", "a red apple", "a zebrafish", " ", "a red apple"], "per_prompt": 2}
    plan = client.post(f"{JOBS}/generate/check", json=body).json()
    assert plan["notes"] == ["2 doubled prompts left out: each prompt counts once."]
    (asked,) = plan["questions"]
    assert asked.startswith("Of 2 prompts, 1 has words that tiny-emoji-64 does not know (zebrafish)")
    assert plan["command"].endswith("-- 'a red apple' 'a zebrafish'")
    assert client.post(f"{JOBS}/generate", json=body).json()["total"] == 4
    known = client.post(f"{JOBS}/generate/check", json={"prompts": ["a red apple"]}).json()
    assert known["notes"] == known["questions"] == []
    other = client.post(f"{JOBS}/generate/check", json={"prompts": ["a zebrafish"], "model": "owner/name"}).json()
    assert other["questions"] == []  # of other models nobody knows the words
    assert site.root is not None
    a_run(site.root)
    ours = client.post(f"{JOBS}/generate/check", json={"prompts": ["a zebrafish"], "run": "first"}).json()
    assert "zebrafish" in ours["questions"][0]  # a run of the bundled model


@pytest.mark.parametrize(
    ("size", "code", "part"),
    [
        ("100", "size-not-multiple", "take 96x96 or 104x104"),
        ("64x100", "size-not-multiple", "The size of the images is 64x100"),
        ("4", "job-bad-size", "from 8 to 8192"),
        ("9000x64", "job-bad-size", "from 8 to 8192"),
        ("64", None, ""),
        ("96x64", None, ""),
    ],
)
def test_a_size_that_no_model_draws_is_refused_before_the_job(
    client: TestClient, size: str, code: str | None, part: str
) -> None:
    from thumbtune.models.sizes import drawn_unit

    assert drawn_unit(8) == PIPELINE_UNIT  # of the bundled model, so that all that it refuses is refused here
    for path in ("generate/check", "generate"):
        answer = client.post(f"{JOBS}/{path}", json={"prompts": ["a red apple"], "size": size})
        if code is None:
            assert answer.status_code in (200, 201)
        else:
            assert code_of(answer) == (400, code) and part in answer.json()["error"]["message"]
    assert len(client.get(JOBS).json()) == (code is None)


def question(client: TestClient, **settings: str) -> str:
    body = {"name": "new", "settings": {key.replace("_", ".", 1): value for key, value in settings.items()}}
    return " ".join(client.post(f"{JOBS}/train/check", json=body).json()["questions"])


def test_a_training_of_hours_is_asked_about(client: TestClient, site: Site) -> None:
    assert question(client) == question(client, train_steps="500") == ""  # ten times the model's default
    many = question(client, train_steps="1e9")
    assert many.startswith("1,000,000,000 steps are 20,000,000 times the 50 that this model usually takes")
    assert "Estimate time and memory" in many
    assert site.root is not None
    a_run(site.root)  # with steps of 0.3 s
    assert question(client, train_steps="11999") == "" != question(client, train_steps="12001")  # an hour
    told = question(client, train_steps="24000")
    assert told == "24,000 steps take about 2 h: a step takes 0.3 s, as the last ones of the run first tell."
    assert "4 h" in question(client, train_steps="24000", train_batch="64")  # twice the images of a step
    assert question(client, train_steps="24000", train_size="128").startswith("24,000 steps are 480 times the 50")
    assert client.get(JOBS).json() == []


def test_a_run_of_very_many_steps_still_tells_them(client: TestClient, site: Site) -> None:
    assert site.root is not None
    run = site.root / "runs" / "long"
    run.mkdir(parents=True)
    write_recipe(Recipe.model_validate({"train": {"steps": 10**9}}), run / "recipe.yaml")
    assert client.get("/api/v1/runs").json()[0]["steps"] == 10**9


def test_a_round_needs_a_prompt_and_takes_each_once(client: TestClient, site: Site) -> None:
    assert site.root is not None
    a_run(site.root)
    body = {"run": "first", "prompts": ["a zebrafish", "a zebrafish", "a red apple"]}
    plan = client.post(f"{JOBS}/round/check", json=body).json()
    assert plan["notes"] == ["1 doubled prompt left out: each prompt counts once."]
    assert plan["questions"][0].startswith("Of 2 prompts, 1 has words that tiny-emoji-64 does not know (zebrafish)")
    told = client.post(f"{JOBS}/round", json=body).json()
    fresh = site.root / "images" / told["name"] / "fresh.txt"
    assert fresh.read_text() == "a zebrafish\na red apple\n"
    assert client.post(f"{JOBS}/round/check", json={"run": "first"}).status_code == 200  # the prompts of the store


def test_a_round_without_any_prompt_is_refused(tmp_path: Path) -> None:
    from thumbtune.studio.app import make_app
    from thumbtune.studio.site import open_site

    (tmp_path / "root").mkdir()
    a_run(tmp_path / "root")
    site = open_site(str(tmp_path / "likes"), root=tmp_path / "root")
    token = {"authorization": f"Bearer {site.access.token_of(site.owner)}"}
    with site.store, TestClient(make_app(site), base_url="http://127.0.0.1:8421", headers=token) as client:
        for path in ("round/check", "round"):
            assert code_of(client.post(f"{JOBS}/{path}", json={"run": "first", "prompts": [" "]})) == (
                400,
                "round-no-prompt",
            )
        assert client.post(f"{JOBS}/round/check", json={"run": "first", "prompts": ["a key"]}).status_code == 200


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"name": "a/b"}, "job-bad-name"),
        ({"name": "a", "settings": {"train.steps": "many"}}, "recipe-value"),
        ({"name": "a", "settings": {"train.stepz": "1"}}, "recipe-unknown-option"),
        ({"name": "a", "settings": {"likes": "other"}}, "job-other-store"),
        ({"name": "a", "settings": {"model": "/etc"}}, "job-bad-model"),
        ({"name": "a", "settings": {"lora.start": "~/x.safetensors"}}, "job-bad-model"),
        ({"name": "a", "settings": {"evaluate.prompts": "../p.txt"}}, "job-bad-model"),
        ({"name": "a", "settings": {"objective.utility": "/tmp/own.py:mine"}}, "job-bad-model"),
        ({"name": "a", "settings": {"vae": "https://evil.example/x"}}, "job-bad-model"),
        ({"name": "a", "settings": {"seed": "1\0"}}, "text-zero-byte"),
        ({"name": "a", "recipe": "../../x"}, "recipe-unreadable"),
    ],
)
def test_trainings_that_are_refused(client: TestClient, body: Any, code: str) -> None:
    for path in ("train", "train/check", "train/estimate"):
        answer = client.post(f"{JOBS}/{path}", json=body)
        assert code_of(answer) == (400, code)
    assert client.get(JOBS).json() == []


def test_a_run_is_not_trained_over_and_can_be_resumed(client: TestClient, site: Site) -> None:
    assert site.root is not None
    run = site.root / "runs" / "first"
    run.mkdir(parents=True)
    write_recipe(Recipe(), run / "recipe.yaml")
    assert code_of(client.post(f"{JOBS}/train", json={"name": "first"})) == (409, "job-run-exists")
    assert code_of(client.post(f"{JOBS}/resume", json={"name": "second"})) == (404, "job-no-run")
    assert client.post(f"{JOBS}/resume", json={"name": "first"}).status_code == 201
    (waiting,) = rows.list_jobs(site.store)
    assert queue_of(site).words(waiting) == ["train", "--out", "runs/first", "--resume"]
    assert client.get("/api/v1/runs").json()[0]["name"] == "first"
    detail = client.get("/api/v1/runs/first").json()
    assert (detail["steps"], detail["rows"], detail["samples"]) == (50, [], [])


def test_the_images_of_a_generation_are_those_that_it_stored(client: TestClient, site: Site, tmp_path: Path) -> None:
    number = client.post(f"{JOBS}/generate", json={"prompts": ["a"], "name": "foxes"}).json()["id"]
    folder = tmp_path / "images" / "foxes"
    folder.mkdir(parents=True)
    for index in range(3):
        (folder / f"{index}.png").write_bytes(png(100 + index))
    pairs = [(f"fox {index}", folder / f"{index}.png") for index in range(3)]
    assert list(stored(pairs, site.store)) == [path for _, path in pairs]
    told = client.get(f"{JOBS}/{number}/images").json()
    assert [image["prompt"] for image in told] == ["fox 2", "fox 1", "fox 0"]
    assert client.get("/api/v1/counts").json()["left"] == 15  # nobody has judged them


def test_stop_and_resume(client: TestClient) -> None:
    number = client.post(f"{JOBS}/generate", json={"prompts": ["a"]}).json()["id"]
    assert client.post(f"{JOBS}/{number}/stop", json={}).json()["state"] == "stopped"
    assert client.post(f"{JOBS}/{number}/stop", json={}).json()["state"] == "stopped"
    assert client.post(f"{JOBS}/{number}/resume", json={}).json()["state"] == "waiting"
    assert code_of(client.post(f"{JOBS}/{number}/resume", json={})) == (409, "job-not-stopped")
    assert code_of(client.post(f"{JOBS}/{number}/save", json={})) == (409, "job-not-running")
    for path in (f"{JOBS}/99", f"{JOBS}/99/events"):
        assert code_of(client.get(path)) == (404, "job-missing")
    assert code_of(client.post(f"{JOBS}/99/stop", json={})) == (404, "job-missing")
    assert client.get(f"{JOBS}/0").status_code == 422


def test_events_go_on_after_the_last_one(client: TestClient, site: Site) -> None:
    number = client.post(f"{JOBS}/generate", json={"prompts": ["a"]}).json()["id"]
    client.post(f"{JOBS}/{number}/stop", json={})
    log = queue_of(site).files(number).log
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_text("images/a-0.png\nimages/a-1.png\n")
    whole = client.get(f"{JOBS}/{number}/events")
    assert whole.headers["content-type"].startswith("text/event-stream")
    events = [dict(line.split(": ", 1) for line in block.splitlines()) for block in whole.text.split("\n\n")[1:-1]]
    assert [event["event"] for event in events] == ["state", "log", "end"]
    assert json.loads(events[0]["data"])["done"] == 2
    rest = client.get(f"{JOBS}/{number}/events", headers={"last-event-id": events[0]["id"]}).text
    assert "event: state" not in rest and "images/a-1.png" in rest
    with log.open("a") as file:
        file.write("images/a-2.png\n")
    rest = client.get(f"{JOBS}/{number}/events", headers={"last-event-id": events[1]["id"]}).text
    assert '["images/a-2.png"]' in rest and "images/a-1.png" not in rest


def test_a_running_job_tells_what_it_does(client: TestClient, site: Site) -> None:
    number = client.post(f"{JOBS}/generate", json={"prompts": ["a"]}).json()["id"]
    queue = queue_of(site)
    assert rows.claim(site.store, number, queue.host)
    queue.files(number).log.parent.mkdir(parents=True, exist_ok=True)
    queue.files(number).log.write_text(
        "     Loading the model: 3 of 9\nimages/a-0.png\n     Generating: 1 of 4, 2.0 s each\n"
    )
    told = client.get(f"{JOBS}/{number}").json()
    assert (told["doing"], told["done"], told["total"]) == ("Generating: 1 of 4, 2.0 s each", 1, 4)
    stopping = client.post(f"{JOBS}/{number}/stop", json={}).json()
    assert (stopping["state"], stopping["stopping"]) == ("running", True)


@pytest.mark.parametrize("after", ["", "x", "0.0.0.0.", "9.9.9.9.done", "1" * 200, "\xe9", "-1.0.0.0.done"])
def test_strange_last_event_ids_begin_at_the_start(client: TestClient, after: str) -> None:
    number = client.post(f"{JOBS}/generate", json={"prompts": ["a"]}).json()["id"]
    client.post(f"{JOBS}/{number}/stop", json={})
    answer = client.get(f"{JOBS}/{number}/events", headers={"last-event-id": after.encode("latin-1")})
    assert answer.status_code == (422 if len(after) > 100 else 200)
    assert answer.status_code == 422 or "event: end" in answer.text


def test_raters_see_none_of_it(client_of: Clients) -> None:
    ben = client_of("ben")
    for path in (JOBS, f"{JOBS}/1", f"{JOBS}/1/events", "/api/v1/runs", "/api/v1/recipe"):
        assert code_of(ben.get(path)) == (403, "studio-owner-only")
    for path in ("generate", "train", "train/check", "train/estimate", "resume", "evaluate"):
        assert ben.post(f"{JOBS}/{path}", json={"name": "a", "prompts": ["a"]}).status_code == 403
    for page in ("/generate", "/train"):
        assert ben.get(page).status_code == 303


def test_the_form_has_every_option_of_a_recipe_but_the_store(client: TestClient) -> None:
    form = client.get("/api/v1/recipe").json()
    keys = [option["key"] for option in form["options"]]
    assert "likes" not in keys and {"model", "train.lr", "lora.rank", "gates.alpha"} - set(keys) <= {"gates.alpha"}
    assert all(option["help"] for option in form["options"])
    steps = next(option for option in form["options"] if option["key"] == "train.steps")
    assert (steps["default"], steps["first"]) == ("50", True)
    assert [preset["name"] for preset in form["presets"]] == ["quick", "standard", "careful"]
    assert "paper" in form["shipped"]
    paper = client.get("/api/v1/recipe", params={"shipped_recipe": "paper"}).json()
    assert next(option["default"] for option in paper["options"] if option["key"] == "train.steps") == "10000"
    assert code_of(client.get("/api/v1/recipe", params={"model": "../x"})) == (400, "job-bad-model")


def test_defaults_and_presets_are_texts_that_a_recipe_takes() -> None:
    recipe = Recipe()
    given = [f"{option.key}={option.default}" for option in options_of(recipe)]
    assert read_recipe(None, given) == recipe
    assert preset_settings("standard", recipe) == {"train.sample_every": "12", "train.checkpoint_every": "25"}
    quick = preset_settings("quick", recipe)
    assert quick["train.steps"] == "25" and "train.lr" not in quick
    careful = read_recipe(None, [f"{key}={value}" for key, value in preset_settings("careful", recipe).items()])
    assert (careful.train.steps, careful.train.lr, careful.train.validate_every) == (100, 2.5e-4, 10)
    assert text_of(["a", "b"]) == "[a, b]"


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("steps", [1, 2, 3, 50, 500, 10_000])
def test_a_preset_keeps_a_checkpoint_half_way(preset: PresetName, steps: int) -> None:
    recipe = Recipe.model_validate({"train": {"steps": steps}})
    train = read_recipe(None, [f"{key}={value}" for key, value in preset_settings(preset, recipe).items()]).train
    taken = train.steps if "train.steps" in preset_settings(preset, recipe) else steps
    kept = range(train.checkpoint_every, taken, train.checkpoint_every)  # but for that of the end
    assert len(kept) >= 1 or taken == 1


def test_the_studio_names_its_buttons_where_a_command_names_what_to_type(client: TestClient, site: Site) -> None:
    asked = "A checkpoint of step 5 was saved, as SIGUSR1 asked; training continues."
    stopped = "Stopped after step 5 of 40; a checkpoint was saved: the same command with --resume continues from it."
    number = client.post(f"{JOBS}/train", json={"name": "second"}).json()["id"]
    queue = queue_of(site)
    assert rows.claim(site.store, number, queue.host)
    queue.files(number).log.parent.mkdir(parents=True, exist_ok=True)
    queue.files(number).log.write_text(f"thumbtune: Note: {asked}\nthumbtune: {stopped}\n")
    rows.end(site.store, number, "stopped", 130, stopped)
    told = client.get(f"{JOBS}/{number}").json()["sentence"]
    assert told == "Stopped after step 5 of 40; a checkpoint was saved: Resume continues from it."
    events = client.get(f"{JOBS}/{number}/events").text
    assert "as Save a checkpoint asked" in events and "SIGUSR1" not in events and "--resume" not in events
    assert stopped in queue.files(number).log.read_text()  # the command keeps its words


def test_no_sentence_of_a_training_keeps_what_a_button_does() -> None:
    lines = (Path(__file__).parents[1] / "sentences.txt").read_text(encoding="utf-8").splitlines()
    said = [line for line in lines if "\\" not in line]  # and no patterns
    known = [line for line in said if re.search(r"--resume\b(?! --set| out )|SIGUSR", line)]
    assert len(known) > 10
    assert [line for line in map(in_studio, known) if "--resume" in line or "SIGUSR" in line] == []


def test_samples_are_files_of_the_run_alone(client: TestClient, site: Site) -> None:
    assert site.root is not None
    folder = site.root / "runs" / "a" / "samples" / "step-000010"
    folder.mkdir(parents=True)
    (folder / "0.png").write_bytes(b"\x89PNG")
    assert client.get("/api/v1/runs/a/samples/10/0").content == b"\x89PNG"
    for path in ("a/samples/10/1", "a/samples/11/0", "..%2fa/samples/10/0", "%2e%2e/samples/10/0"):
        assert client.get(f"/api/v1/runs/{path}").status_code in (400, 404)


def test_without_a_root_nothing_is_generated(tmp_path: Path) -> None:
    from thumbtune.studio.app import make_app
    from thumbtune.studio.site import open_site

    site = open_site(str(tmp_path / "likes"))
    token = {"authorization": f"Bearer {site.access.token_of(site.owner)}"}
    with site.store, TestClient(make_app(site), base_url="http://127.0.0.1:8421", headers=token) as client:
        answer = client.post(f"{JOBS}/generate", json={"prompts": ["a"]})
        assert code_of(answer) == (400, "job-no-root")
        assert client.get(JOBS).json() == []
        assert code_of(client.get("/api/v1/runs")) == (400, "job-no-root")


def test_an_evaluated_run_has_pairs_and_a_verdict(client: TestClient, site: Site) -> None:
    assert site.root is not None
    a_run(site.root)
    assert code_of(client.get("/api/v1/runs/first/comparison")) == (404, "run-not-evaluated")
    evaluate(site.root)
    told = client.get("/api/v1/runs/first/comparison").json()
    assert (told["base"], told["run"], told["decision"]) == ("tiny-emoji-64", "runs/first", "not enough evidence")
    assert told["pairs"] == [
        {"prompt": 0, "seed": 7, "words": "a red heart", "scores": {"taste": [0.25, 0.5]}},
        {"prompt": 1, "seed": 7, "words": "a blue car", "scores": {}},
    ]
    assert client.get("/api/v1/runs/first/comparison/b/1/7").content == png(51, 64)
    for path, status in (("c/1/7", 422), ("a/9/7", 404), ("a/1/8", 404)):
        assert client.get(f"/api/v1/runs/first/comparison/{path}").status_code == status
    images = site.root / "runs" / "first" / "evaluation" / "images.csv"
    images.write_text(images.read_text().replace("b/1-7.png", "../../x"))
    assert code_of(client.get("/api/v1/runs/first/comparison/b/1/7")) == (400, "duel-unreadable")
