"""What many tests share: likes on the plane, and real diffusers pipelines at tiny size.

Fixtures return factories, so that a test can make the "new process" of a resume: fresh objects from the same files.
"""

import math
import os
import string
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from tiny_transformers import BUILDERS, CLIP_BUILDERS, built

# a busy machine is no fault: the time of an example decides nothing
settings.register_profile("any-machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any-machine")

Call = Callable[..., tuple[int, str, str]]
LONGEST = (  # files, of those in minutes
    *(
        "test_readme.py",
        "test_distributed.py",
        "test_sharding.py",
        "test_site.py",
        "test_grids.py",
        "test_grounds.py",
        "test_base_model.py",
    ),
    *("test_contract.py", "test_run.py", "test_less_memory.py", "test_evaluate.py", "test_commands.py"),
)
STARTS, ENDS = "<|startoftext|>", "<|endoftext|>"
SIZES = {"sana": 32, "lumina2": 32, "ltx": 32}  # pixels, of which their pipelines ask for more


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the longest files, so that no process is left alone with one at the end."""
    place = {name: number for number, name in enumerate(LONGEST)}
    items.sort(key=lambda item: place.get(item.path.name, len(place)))


@pytest.fixture(scope="session", autouse=True)
def _without_waiting_for_the_disk() -> Iterator[None]:
    """Tests kill processes and no machine, so nothing need reach the disk; a new store waits 0.1 s for it."""
    from thumbtune.feedback.store import database, image_storage

    configure = database._configure

    def configured(connection: Any, record: object) -> None:
        configure(connection, record)
        connection.execute("PRAGMA synchronous = OFF").close()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda descriptor: None)
        patch.setattr(image_storage, "flush_all", lambda paths: None)
        patch.setattr(database, "_configure", configured)
        yield


@pytest.fixture
def make_likes() -> Callable[..., Any]:
    """(images, liked, prompts, weights, ids) -> a table with the columns that training reads."""

    def make(
        images: Sequence[Any],
        liked: Sequence[bool],
        prompts: Sequence[str] | None = None,
        weights: Sequence[float] | None = None,
        ids: Sequence[str] | None = None,
    ) -> Any:
        from datasets import Dataset

        from thumbtune.feedback.likes import likes_features

        features = likes_features()
        rows: dict[str, Any] = {name: [None] * len(images) for name in features}
        rows |= {
            "image": list(images),
            "image_id": list(ids or [f"picture-{i}" for i in range(len(images))]),
            "prompt": list(prompts or [""] * len(images)),
            "label": list(liked),
            "weight": list(weights or [1.0] * len(images)),
        }
        return Dataset.from_dict(rows, features=features)

    return make


@pytest.fixture(scope="session")
def _fitted_weights() -> dict[str, Any]:
    import torch

    from thumbtune.models.plane import Plane

    points = 0.5 + 0.15 * torch.randn(1000, 2, generator=torch.Generator().manual_seed(0))
    return Plane().fit(points.clamp(0, 1), steps=500).denoiser.state_dict()


@pytest.fixture(scope="session")
def make_plane(_fitted_weights: dict[str, Any]) -> Callable[..., Any]:
    """A Plane that draws points near the middle of the square; with `drift`, its reference is that much off."""
    import torch

    from thumbtune.models.plane import Plane

    def make(kind: type[Plane] = Plane, drift: float = 0.0) -> Plane:
        plane = kind()
        plane.denoiser.load_state_dict(_fitted_weights)
        generator = torch.Generator().manual_seed(7)
        with torch.no_grad():
            for weight in plane.denoiser.parameters():
                weight.add_(drift * torch.randn(weight.shape, generator=generator))
        plane.begin()
        plane.denoiser.load_state_dict(_fitted_weights)
        return plane

    return make


@pytest.fixture
def make_batches(make_likes: Callable[..., Any], tmp_path: Path) -> Callable[..., Any]:
    """(model, points, liked, ...) -> Batches of points of the unit square, encoded into a cache of this test."""
    from thumbtune.models.plane import image_of_point
    from thumbtune.training.batches import Batches
    from thumbtune.training.cache import Cache
    from thumbtune.training.encoded import Encoded

    def make(model: Any, points: Sequence[Sequence[float]], liked: Sequence[bool], **options: Any) -> Batches:
        columns = {name: options.pop(name) for name in ("prompts", "weights", "ids") if name in options}
        columns.setdefault("prompts", [f"point {i}" for i in range(len(points))])
        likes = make_likes([image_of_point(x, y) for x, y in points], liked, **columns)
        encoded = Encoded(likes, model, Cache(tmp_path / "cache")).fill()
        return Batches(encoded=encoded, process=model.process, **{"size": 8, "liked_share": 0.5} | options)

    return make


@pytest.fixture
def make_training() -> Callable[..., Any]:
    """(model, reference_point, auto, ...) -> Training on the CPU, in float32; no clipping, no weight decay."""
    from accelerate import Accelerator

    from thumbtune.objective.beta import Auto, Fixed
    from thumbtune.objective.reference_point import REFERENCE_POINTS
    from thumbtune.training.trainer import Settings, Training

    def make(model: Any, reference_point: str = "batch", auto: bool = False, **settings: Any) -> Training:
        chosen = {"steps": 10, "micro_batch": 8, "lr": 1e-3, "max_grad_norm": math.inf, "weight_decay": 0.0} | settings
        return Training(
            model,
            REFERENCE_POINTS[reference_point](),
            Settings(**chosen),
            Accelerator(cpu=True),
            Auto() if auto else Fixed(),
        )

    return make


def _tokenizer(pad: str | None = None) -> Any:
    """CLIP's tokenizer with letters for words: 54 tokens, 8 places; it pads with the end of a text, or with `pad`."""
    from transformers import CLIPTokenizer

    words = [*string.ascii_lowercase, *(f"{letter}</w>" for letter in string.ascii_lowercase), STARTS, ENDS]
    return CLIPTokenizer(
        vocab={word: i for i, word in enumerate(words)}, merges=[], model_max_length=8, pad_token=pad or ENDS
    )


def _pipeline(prediction: str) -> Any:
    """Stable Diffusion of 16 x 16 pixels with random weights: as SD 1.5 for epsilon, as SD 2.x for v_prediction."""
    import torch
    from diffusers import AutoencoderKL, DDIMScheduler, PNDMScheduler, StableDiffusionPipeline, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel

    tokenizer = _tokenizer()
    second = prediction == "v_prediction"
    schedule = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012, "steps_offset": 1}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        unet = UNet2DConditionModel(
            sample_size=8,
            block_out_channels=(8, 16),
            layers_per_block=1,
            down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
            up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
            cross_attention_dim=16,
            attention_head_dim=4,
            norm_num_groups=4,
            use_linear_projection=second,
        )
        vae = AutoencoderKL(
            sample_size=16,
            block_out_channels=(8, 16),
            down_block_types=("DownEncoderBlock2D", "DownEncoderBlock2D"),
            up_block_types=("UpDecoderBlock2D", "UpDecoderBlock2D"),
            norm_num_groups=4,
        )
        text = CLIPTextModel(
            CLIPTextConfig(
                vocab_size=len(tokenizer),
                hidden_size=16,
                intermediate_size=32,
                num_hidden_layers=2,
                num_attention_heads=2,
                max_position_embeddings=8,
                bos_token_id=tokenizer.bos_token_id,
                eos_token_id=tokenizer.eos_token_id,
                pad_token_id=tokenizer.pad_token_id,
            )
        )
    return StableDiffusionPipeline(
        unet=unet,
        vae=vae,
        text_encoder=text,
        tokenizer=tokenizer,
        scheduler=DDIMScheduler(**schedule, prediction_type=prediction, clip_sample=False, set_alpha_to_one=False)
        if second
        else PNDMScheduler(**schedule, skip_prk_steps=True),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def _pipeline_xl(prediction: str) -> Any:
    """SDXL of 16 x 16 pixels with random weights: epsilon as of the base model, v with a last step of pure noise."""
    import torch
    from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionXLPipeline, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    first, second = _tokenizer(), _tokenizer(pad="a</w>")
    schedule = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012, "steps_offset": 1}
    terminal = prediction == "v_prediction"
    text: dict[str, Any] = {
        "vocab_size": len(first),
        "intermediate_size": 32,
        "num_hidden_layers": 3,
        "num_attention_heads": 2,
        "max_position_embeddings": 8,
        "bos_token_id": first.bos_token_id,
        "eos_token_id": first.eos_token_id,
    }
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return StableDiffusionXLPipeline(
            unet=UNet2DConditionModel(
                sample_size=8,
                block_out_channels=(8, 16),
                layers_per_block=1,
                down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
                up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
                transformer_layers_per_block=(1, 2),
                cross_attention_dim=40,
                attention_head_dim=(2, 4),
                norm_num_groups=4,
                use_linear_projection=True,
                addition_embed_type="text_time",
                addition_time_embed_dim=8,
                projection_class_embeddings_input_dim=6 * 8 + 12,
            ),
            vae=AutoencoderKL(
                sample_size=16,
                block_out_channels=(8, 16),
                down_block_types=("DownEncoderBlock2D", "DownEncoderBlock2D"),
                up_block_types=("UpDecoderBlock2D", "UpDecoderBlock2D"),
                norm_num_groups=4,
                scaling_factor=0.13025,
            ),
            text_encoder=CLIPTextModel(CLIPTextConfig(hidden_size=16, pad_token_id=first.pad_token_id, **text)),
            text_encoder_2=CLIPTextModelWithProjection(
                CLIPTextConfig(
                    hidden_size=24, projection_dim=12, pad_token_id=second.pad_token_id, hidden_act="gelu", **text
                )
            ),
            tokenizer=first,
            tokenizer_2=second,
            scheduler=DDIMScheduler(
                **schedule,
                clip_sample=False,
                set_alpha_to_one=False,
                prediction_type=prediction,
                rescale_betas_zero_snr=terminal,
                timestep_spacing="trailing" if terminal else "leading",
            ),
            add_watermarker=False,
        )


@pytest.fixture(scope="session")
def tiny_pipeline(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """prediction -> the folder of a real StableDiffusionPipeline, saved once; do not write to it.

    `xl-` before the prediction gives a StableDiffusionXLPipeline, and a name of `tiny_transformers` its pipeline.
    """
    folders: dict[str, Path] = {}

    def make(prediction: str = "epsilon") -> Path:
        if prediction not in folders:
            folders[prediction] = tmp_path_factory.mktemp("pipeline") / prediction
            if prediction in BUILDERS | CLIP_BUILDERS:
                made = built(prediction)
            else:
                made = _pipeline_xl(prediction[3:]) if prediction.startswith("xl-") else _pipeline(prediction)
            made.save_pretrained(folders[prediction])
        return folders[prediction]

    return make


@pytest.fixture(scope="session")
def make_diffusion(tiny_pipeline: Callable[[str], Path]) -> Callable[..., Any]:
    """(prediction, rank, alpha) -> the adapter on a freshly loaded tiny pipeline; alpha is twice the rank.

    A `tuning` may be given in place of the LoRA.
    """
    from thumbtune.models.families import adapter_of
    from thumbtune.models.loading import load_pipeline
    from thumbtune.models.lora import LoRA
    from thumbtune.models.protocol import PipelineModel, Tuning

    def make(
        prediction: str = "epsilon", rank: int = 4, alpha: float = 8.0, seed: int = 0, tuning: Tuning | None = None
    ) -> PipelineModel:
        pipeline = load_pipeline(str(tiny_pipeline(prediction)))
        model = adapter_of(pipeline, tuning or LoRA(rank=rank, alpha=alpha), seed)
        model.size = SIZES.get(prediction, 16)  # some families have one size for all their models
        return model

    return make


@pytest.fixture(scope="session")
def perturb() -> Callable[..., None]:
    """Move every trainable weight by a fixed random amount: a model as if it had been trained."""
    import torch

    def move(model: Any, by: float = 0.2, seed: int = 1) -> None:
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for _, weight in model.trainable():
                weight.add_(by * torch.randn(weight.shape, generator=generator))

    return move


@pytest.fixture
def six_of_each(call: Call, tmp_path: Path) -> Path:
    """A store with six liked red images and six disliked black ones, of the same six prompts."""
    from PIL import Image

    for kind, red in (("like", 255), ("dislike", 0)):
        (tmp_path / "thumbs" / kind).mkdir(parents=True)
        for i in range(6):
            Image.new("RGB", (16, 16), (red, 20 * i, 0)).save(tmp_path / "thumbs" / kind / f"{i}.png")
            (tmp_path / "thumbs" / kind / f"{i}.txt").write_text(f"thing {i}")
    assert call("import", tmp_path / "thumbs", "--likes", tmp_path / "likes")[0] == 0
    return tmp_path / "likes"


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Call:
    """Call `thumbtune ...` in this process: exit code, standard output, standard error."""

    from thumbtune.cli import app as cli

    def run(*words: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["thumbtune", *map(str, words)])
        code = 0
        try:
            cli.main()
        except SystemExit as stop:
            code = int(stop.code or 0)
        out, err = capfd.readouterr()
        return code, out, err

    return run
