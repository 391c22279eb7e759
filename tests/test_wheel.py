"""The wheel: small enough, complete, and enough by itself, away from the repository."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from PIL import Image
from test_dockerfile import LINES, copied, stages

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parent.parent
DRAW = """
import thumbtune
from pathlib import Path
from thumbtune.runs import build
from thumbtune.evaluation.scorers.faithfulness import FaithfulnessJudge
from thumbtune.models.protocol import Sampler
from thumbtune.models.families.stable_diffusion import StableDiffusion
from thumbtune.models.loading import load_pipeline
model = StableDiffusion(load_pipeline(build.model_path("tiny-emoji-64")))
(image,) = model.generate(["a panda"], [0], Sampler(steps=4))
print(Path(thumbtune.__file__).parent, image.size, FaithfulnessJudge(build.BUNDLED / "judge").names([image], top=5)[0])
"""


COMMANDS = """
--help
import thumbs
train --out run --set train.steps=3 --set train.batch=4 --set train.validate_every=0
generate thing --run run --seeds 1 --steps 2
report run
""".split("\n")[1:-1]


def wheel_of(source: Path, folder: Path) -> Path:
    """Build the wheel of a copy of the repository, with the build tools that pip fetches."""
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder), str(source)]
    done = subprocess.run(command, timeout=300, capture_output=True, text=True, check=False)
    if "No matching distribution found for hatchling" in done.stderr:
        pytest.skip("pip finds no hatchling here, which builds the wheel")
    assert done.returncode == 0, done.stderr
    (wheel,) = folder.glob("thumbtune-*.whl")
    return wheel


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    wheel = wheel_of(ROOT, folder)
    assert wheel.stat().st_size < 40_000_000
    zipfile.ZipFile(wheel).extractall(folder / "site")
    return folder / "site"


def test_everything_that_is_needed_rides_in_the_wheel_and_nothing_else(unpacked: Path) -> None:
    source = ROOT / "src" / "thumbtune"
    ours = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "."]
    listed = subprocess.run(ours, cwd=source, capture_output=True, text=True, check=True).stdout.splitlines()
    wanted = {Path(name) for name in listed if (source / name).is_file()}
    packed = {p.relative_to(unpacked / "thumbtune") for p in (unpacked / "thumbtune").rglob("*") if p.is_file()}
    assert packed == wanted and Path("py.typed") in packed
    beside = {path.name for path in unpacked.iterdir()}
    assert beside == {"thumbtune", *(name for name in beside if name.endswith(".dist-info"))}
    licences = [path.name for path in unpacked.rglob("licenses/*")]
    assert sorted(licences) == ["LICENSE", "NOTICE"]


def test_the_model_and_the_judge_work_away_from_the_repository(unpacked: Path, tmp_path: Path) -> None:
    program = f"import sys; sys.path.insert(0, {str(unpacked)!r})\n{DRAW}"
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{unpacked / 'thumbtune'} (64, 64)")


def test_the_commands_work_away_from_the_repository(unpacked: Path, tmp_path: Path) -> None:
    for kind, red in (("like", 255), ("dislike", 0)):
        (tmp_path / "thumbs" / kind).mkdir(parents=True)
        for i in range(6):
            Image.new("RGB", (16, 16), (red, 20 * i, 0)).save(tmp_path / "thumbs" / kind / f"{i}.png")
            (tmp_path / "thumbs" / kind / f"{i}.txt").write_text(f"thing {i}")
    program = (
        "import sys, thumbtune; from thumbtune.cli import main\n"
        f"assert thumbtune.__file__.startswith({str(unpacked)!r}), thumbtune.__file__\nsys.exit(main())"
    )
    environment = os.environ | {"PYTHONPATH": str(unpacked), "HF_HUB_OFFLINE": "1"}
    for line in COMMANDS:
        command = [sys.executable, "-c", program, *line.split()]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{line}: {done.stdout}{done.stderr}"
    assert len((tmp_path / "run" / "steps.jsonl").read_text().splitlines()) == 3
    assert (tmp_path / "run" / "lora" / "pytorch_lora_weights.safetensors").exists()
    assert (tmp_path / "run" / "report.html").stat().st_size > 1000
    (drawn,) = (tmp_path / "images").glob("*.png")
    with Image.open(drawn) as image:
        assert image.size == (64, 64)


def test_the_wheel_names_nothing_of_the_machine_that_built_it(unpacked: Path) -> None:
    """Nor of the person: a folder such as /usr, of one name, is anybody's."""
    folders = [folder for folder in (ROOT, Path(sys.prefix)) if len(folder.parts) > 2] + [Path.home()]
    ours = [f"{folder}/".encode() for folder in folders if folder != Path("/")]
    assert ours
    files = [file for file in unpacked.rglob("*") if file.is_file()]
    assert not [(file.name, name) for file in files for name in ours if name in file.read_bytes()]


def test_the_files_that_the_dockerfile_copies_make_the_same_wheel(unpacked: Path, tmp_path: Path) -> None:
    _, first, _ = stages(LINES)
    (tmp_path / "source").mkdir()
    for name in copied(first):
        source = ROOT / name
        target = tmp_path / "source" / name
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, target)
    wheel = zipfile.ZipFile(wheel_of(tmp_path / "source", tmp_path / "out"))
    packed = {str(file.relative_to(unpacked)): file.read_bytes() for file in unpacked.rglob("*") if file.is_file()}
    assert {name: wheel.read(name) for name in wheel.namelist()} == packed
