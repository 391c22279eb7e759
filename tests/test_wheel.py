"""The wheel: small enough, complete, and enough by itself, away from the repository."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

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


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder), str(ROOT)]
    subprocess.run(command, check=True, timeout=300)
    (wheel,) = folder.glob("thumbtune-*.whl")
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
