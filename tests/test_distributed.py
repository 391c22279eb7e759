"""Two processes do what one does: the same gradient, the same log, and a stop after the same step."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import in_processes
import psutil
import pytest
import torch
from coloured_likes import likes_in
from safetensors.torch import load_file

from thumbtune.objective.reference_point import REFERENCE_POINTS
from thumbtune.objective.utility import UTILITIES
from thumbtune.runs.recipe import read_recipe
from thumbtune.runs.tuning import tune
from thumbtune.training.progress import quiet

pytestmark = pytest.mark.slow
THUMBTUNE = Path(sys.executable).with_name("thumbtune")
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1"}


def launched(*words: object) -> list[str]:
    """A command of two processes on this machine."""
    return [
        *(sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"),
        *map(str, words),
    ]


def ended(command: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, check=False, env=ENVIRONMENT, capture_output=True, text=True, timeout=300)


def completed(command: list[str]) -> subprocess.CompletedProcess[str]:
    done = ended(command)
    assert done.returncode == 0, done.stderr
    return done


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("processes")
    in_processes.main(folder)
    completed(launched(in_processes.__file__, folder))
    return folder


def test_a_process_that_ends_has_no_threads_of_its_group(tmp_path: Path) -> None:
    """They abort a process that ends: the exit code was 134 in 20 of 50 pairs that shared a sum and then ended."""
    program = tmp_path / "program.py"
    program.write_text(
        "import atexit, torch.distributed as dist\n"
        "atexit.register(lambda: print('group' if dist.is_initialized() else 'alone', flush=True))\n"
        "from thumbtune.distributed import team\n"
        "assert team() is not None and team().num_processes == 2\n"
    )
    assert completed(launched(program)).stdout.split() == ["alone", "alone"]


def test_two_processes_have_the_gradient_of_one(results: Path) -> None:
    alone = load_file(results / "1-0.safetensors")
    assert len(alone) == 2 * len(REFERENCE_POINTS) * len(UTILITIES) + 2
    for rank in (0, 1):
        together = load_file(results / f"2-{rank}.safetensors")
        for name, gradient in alone.items():
            assert gradient.norm() > 0
            assert (together[name] - gradient).norm() / gradient.norm() < 1e-5, (rank, name)


def test_two_processes_report_what_one_does(results: Path) -> None:
    alone = json.loads((results / "1-0.json").read_text())
    for rank in (0, 1):
        together = json.loads((results / f"2-{rank}.json").read_text())
        for name, step in alone.items():
            assert together[name] == pytest.approx(step, rel=1e-5), (rank, name)
            assert step["skipped"] == (4 if name.startswith("Broken") else 0)


def test_two_processes_have_the_beta_the_average_and_the_reference_of_one(results: Path) -> None:
    alone = load_file(results / "1-0-stable.safetensors")
    steps = json.loads((results / "1-0-stable.json").read_text())
    assert [step["synced"] for step in steps] == [False, True, False, False]
    for rank in (0, 1):
        together = load_file(results / f"2-{rank}-stable.safetensors")
        for name, value in alone.items():
            assert torch.allclose(together[name], value, rtol=1e-4, atol=1e-6), (rank, name)
        for one, two in zip(steps, json.loads((results / f"2-{rank}-stable.json").read_text()), strict=True):
            # sums in another order: a log-ratio is a small difference of errors
            assert two["beta"] == pytest.approx(one["beta"], rel=1e-6)
            assert two["gain"] == pytest.approx(one["gain"], rel=1e-2, abs=1e-5)


@pytest.fixture
def command(tmp_path: Path, tiny_pipeline: Callable[[str], Path]) -> list[str]:
    """`thumbtune train` on a tiny pipeline, without --out."""
    return command_on(tmp_path, tiny_pipeline("epsilon"), [(16, 16)])


def command_on(tmp_path: Path, model: Path, sizes: Sequence[tuple[int, int]]) -> list[str]:
    settings = [f"likes={likes_in(tmp_path, sizes)}", f"model={model}", "train.batch=4"]
    settings += [
        "train.micro_batch=2",
        "train.steps=6",
        "train.validation_share=0.3",
        "objective.beta=100",
        "train.warmup=0",
    ]
    settings += ["train.validate_every=2"]
    return [str(THUMBTUNE), "train", *(word for one in settings for word in ("--set", one))]


def log(run: Path) -> list[dict[str, float]]:
    """What the steps said, without the seconds; a mean over no image becomes 0."""
    rows = [json.loads(line) for line in (run / "steps.jsonl").read_text().splitlines()]
    return [{key: value or 0.0 for key, value in row.items() if key != "seconds"} for row in rows]


OBJECTIVES = ("kto", "dpo", "bco")
COMMANDS = """
import json, sys
from thumbtune.cli.app import main
for sys.argv in json.loads(sys.argv[1]):
    try:
        main()
    except SystemExit as stop:
        assert not stop.code, sys.argv
"""


def is_as_alone(command: list[str], folder: Path, alone: Path) -> None:
    """Train in this process too, and compare what two processes left in the folder."""
    recipe = read_recipe(None, command[3::2])
    assert recipe.train.steps == len(list(tune(recipe, alone, quiet)))
    for one, two in zip(log(alone), log(folder), strict=True):
        assert two == pytest.approx(one, rel=1e-3, abs=1e-6)
    one, two = (load_file(name / "lora" / "pytorch_lora_weights.safetensors") for name in (alone, folder))
    moved = max(float(one[name].abs().max()) for name in one if "lora_B" in name or "lora.up" in name)
    assert all(torch.allclose(one[name], two[name], atol=0.02 * moved) for name in one)


@pytest.fixture(scope="module")
def shaped(tiny_pipeline: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> dict[Path, list[str]]:
    """The folder and the command of a training of two processes for each objective, one after the other."""
    folder = tmp_path_factory.mktemp("shapes")
    command = command_on(folder, tiny_pipeline("epsilon"), [(16, 16), (64, 16), (16, 64), (24, 16), (40, 16)])
    command += ["--set", "train.steps=2", "--set", "train.validation_share=0", "--set"]
    commands = {folder / name: [*command, f"objective.name={name}"] for name in OBJECTIVES}
    (folder / "commands.py").write_text(COMMANDS)
    words = json.dumps([[*words, "--out", str(out)] for out, words in commands.items()])
    assert completed(launched(folder / "commands.py", words)).stdout.count("lora") == len(OBJECTIVES)
    return commands


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_two_processes_share_a_step_of_many_shapes(
    shaped: dict[Path, list[str]], tmp_path: Path, objective: str
) -> None:
    ((folder, command),) = [(folder, words) for folder, words in shaped.items() if folder.name == objective]
    is_as_alone(command, folder, tmp_path / "one")


def test_a_run_of_two_processes_ends_where_a_run_of_one_does(command: list[str], tmp_path: Path) -> None:
    told = completed([*command, "--num-processes", "2", "--out", str(tmp_path / "two")]).stdout
    assert told.count("lora") == 1  # one process speaks for both
    is_as_alone(command, tmp_path / "two", tmp_path / "one")


def test_two_processes_that_refuse_a_run_speak_once(command: list[str], tmp_path: Path) -> None:
    done = ended([*command, "--set", "train.batch=5", "--num-processes=2", "--out", str(tmp_path / "run")])
    assert done.returncode == 2, done.stderr
    assert not (tmp_path / "run").exists()
    assert done.stderr.count("thumbtune: ") == 1 and "train.batch is 5, which 2 processes cannot share" in done.stderr


def test_a_run_goes_on_in_another_number_of_processes(command: list[str], tmp_path: Path) -> None:
    """Two processes, from step 2 on one, and from step 4 on two again."""
    run = tmp_path / "two"
    command += ["--set", "train.checkpoint_every=2", "--set", "train.keep_checkpoints=0"]
    for first, count in ((0, 2), (2, 1), (4, 2)):
        later = [path for path in run.glob("checkpoints/step-*") if int(path.name[5:]) > first]
        for path in later:
            shutil.rmtree(path)
        resume = ["--resume"] if run.exists() else []
        told = completed([*command, "--out", str(run), f"--num-processes={count}", *resume])
        assert not first or f"continues from step {first} of 6" in told.stderr
    is_as_alone(command, run, tmp_path / "one")


def test_of_two_processes_one_draws_samples_and_reports(command: list[str], tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    options = ["--set", "train.sample_every=3", "--set", "train.report_to=tensorboard"]
    call(launched(*command, *options, "--out", tmp_path / "two"))
    assert len(list((tmp_path / "two" / "samples").glob("step-*"))) == 3
    events = EventAccumulator(str(tmp_path / "two" / "tensorboard"))
    events.Reload()
    assert [one.step for one in events.Scalars("loss")] == [1, 2, 3, 4, 5, 6]
    call([*command, "--out", str(tmp_path / "one")])
    one, two = (load_file(tmp_path / name / "lora" / "pytorch_lora_weights.safetensors") for name in ("one", "two"))
    moved = max(float(one[name].abs().max()) for name in one)
    assert all(torch.allclose(one[name], two[name], atol=0.02 * moved) for name in one)


def test_a_guard_stops_both_processes_after_the_same_step_and_one_speaks(command: list[str], tmp_path: Path) -> None:
    far_off = [*command, "--set", "objective.beta=1e9", "--set", "train.steps=60", "--out", str(tmp_path / "run")]
    done = subprocess.run(launched(*far_off), check=False, env=ENVIRONMENT, capture_output=True, text=True, timeout=300)
    assert done.returncode != 0
    told = json.loads((tmp_path / "run" / "stopped.json").read_text())
    assert log(tmp_path / "run")[-1]["step"] == told["step"] < 60
    assert done.stderr.count("Training stopped at step") == 1 and told["sentence"] in done.stderr
    assert (tmp_path / "run" / "lora" / "kohya.safetensors").exists()


def test_ctrl_c_in_one_process_stops_both_after_the_same_step(command: list[str], tmp_path: Path) -> None:
    """The signals of a launcher do not arrive at the same moment: here, one process gets none at all."""
    run = tmp_path / "run"
    long = [*command, "--set", "train.steps=100000", "--set", "train.checkpoint_every=100000", "--out", str(run)]
    process = subprocess.Popen(launched(*long), env=ENVIRONMENT, stderr=subprocess.PIPE, text=True)
    launcher = psutil.Process(process.pid)
    try:
        deadline = time.monotonic() + 120
        while not (run / "steps.jsonl").exists() or len(log(run)) < 3:
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.1)
        workers = {worker.environ()["RANK"]: worker for worker in launcher.children() if "RANK" in worker.environ()}
        workers["1"].send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=120)
    finally:
        for left in [*launcher.children(recursive=True), launcher] if process.poll() is None else []:
            left.kill()
    first, checkpoint = sorted((run / "checkpoints").glob("step-[0-9]*"))
    assert first.name == "step-000000"
    steps = log(run)[-1]["step"]
    assert json.loads((checkpoint / "state.json").read_text())["step"] == steps
    assert err.count(f"Stopped after step {steps} of 100000; a checkpoint was saved") == 1


def test_a_process_whose_peer_was_killed_ends_with_one_sentence(command: list[str], tmp_path: Path) -> None:
    run = tmp_path / "run"
    long = [*command, "--set", "train.steps=100000", "--set", "train.checkpoint_every=100000", "--out", str(run)]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    team = ENVIRONMENT | {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}
    # without a launcher, which would end the other process itself
    first, second = (
        subprocess.Popen(long, env=team | {"RANK": rank, "LOCAL_RANK": rank}, stderr=stderr, text=True)
        for rank, stderr in (("0", subprocess.PIPE), ("1", subprocess.DEVNULL))
    )
    try:
        deadline = time.monotonic() + 120
        while not (run / "steps.jsonl").exists() or len(log(run)) < 3:
            assert first.poll() is None and second.poll() is None and time.monotonic() < deadline
            time.sleep(0.1)
        second.kill()
        _, err = first.communicate(timeout=120)
    finally:
        for process in (first, second):
            process.kill()
            process.wait()
    assert first.returncode == 75, err
    assert err.count("thumbtune: Another process of this training ended") == 1 and "--resume" in err
    assert "Traceback" not in err


def test_two_processes_make_the_table_of_one(call: Callable[..., tuple[int, str, str]], tmp_path: Path) -> None:
    words = ("paper", "table6", "--quick", "--out")
    code, alone, err = call(*words, tmp_path / "one")
    assert code == 0, err
    both = completed(launched(THUMBTUNE, *words, tmp_path / "two"))
    assert both.stdout.count("styles.") == alone.count("styles.") == 1, "one of them speaks"
    shared = [json.loads((tmp_path / out / "provenance.json").read_text())["processes"] for out in ("one", "two")]
    assert shared == [1, 2], "two processes that do not know each other each do all of it"
    made = [
        {
            p.relative_to(folder).as_posix(): p.read_bytes()
            for kind in ("*.csv", "*.md", "*.png")
            for p in folder.rglob(kind)
        }
        for folder in (tmp_path / "one", tmp_path / "two")
    ]
    assert made[0] == made[1] and len(made[0]) > 6


def test_a_training_experiment_refuses_two_processes(tmp_path: Path) -> None:
    done = ended(launched(THUMBTUNE, "paper", "fig8", "--quick", "--out", tmp_path / "fig8"))
    assert done.returncode != 0
    assert "fig8 runs in one process, but 2 were started; start one." in done.stderr
    assert not (tmp_path / "fig8").exists()
