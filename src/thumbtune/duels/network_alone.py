"""A denoiser that is published without its pipeline, as those of many papers, or that a run wrote.

FOLDER               with unet/config.json or transformer/config.json, and no model_index.json; or that folder in it
unet:ID              a hub id that holds no whole pipeline
transformer:ID       the same for a family whose denoiser is a transformer
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from thumbtune import hub
from thumbtune.documents import read_config
from thumbtune.errors import ThumbtuneError, reason
from thumbtune.hub import CONFIG, INDEX
from thumbtune.models.families import adapter_class_of, family_of
from thumbtune.models.family import TRANSFORMER, UNET, VAE, Family
from thumbtune.models.fitting import check_configs
from thumbtune.models.model_options import ModelOptions
from thumbtune.models.pipeline_files import check_pipeline, index_of, vae_config

ALONE = {UNET: "UNet", TRANSFORMER: "transformer"}


def part_of(name: str) -> str | None:
    """Return the part of a pipeline that a name stands for; None if it is no denoiser alone."""
    path = Path(name)
    if (own := _class_in(path)) is not None:
        return UNET if own.startswith("UNet") else TRANSFORMER
    here = [part for part in ALONE if (path / part / CONFIG).is_file() and not (path / INDEX).is_file()]
    return next((part for part in ALONE if name.startswith(f"{part}:") or part in here), None)


def _class_in(folder: Path) -> str | None:
    """Return the class of the denoiser whose own folder this is; None for any other folder."""
    config = read_config(folder / CONFIG) if (folder / CONFIG).is_file() else None
    own = (config or {}).get("_class_name")
    return own if isinstance(own, str) and (own.startswith("UNet") or "Transformer" in own) else None


@dataclass(frozen=True)
class NetworkAlone:
    """A denoiser without its pipeline.

    name: what the caller named it
    part: what pipelines call it
    base: the model in which it takes the place of that part
    """

    name: str
    part: str
    base: str

    @property
    def source(self) -> str:
        """Return its folder or hub id."""
        return self.name.removeprefix(f"{self.part}:")

    @property
    def folder(self) -> str | None:
        """Return the folder of its files there; None: they lie there themselves."""
        return self.part if _class_in(Path(self.source)) is None else None

    @property
    def config(self) -> str:
        """Return the path of its settings there."""
        return CONFIG if self.folder is None else f"{self.folder}/{CONFIG}"

    def load(self, pipeline: Any) -> Any:
        """Return the network, with weights from safetensors only.

        Raises:
            ThumbtuneError: it is not one for that pipeline.
        """
        import diffusers

        family = family_of(type(pipeline).__name__)
        kind = getattr(diffusers, family.networks[family.denoiser])
        where = {**hub.only_cached(self.source), **({} if self.folder is None else {"subfolder": self.folder})}
        try:
            with hub.quietly():
                self._refuse_other_class(kind.load_config(self.source, **where), family)
                network = kind.from_pretrained(self.source, use_safetensors=True, **where)
            _refuse_other_sizes(network, getattr(pipeline, self.part), self.part)
        except (OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
            raise self._misfit(reason(error)) from error
        return network

    def check(self, base: str, options: ModelOptions) -> None:
        """Refuse a base that cannot be used, and a network for another task, before their weights are downloaded.

        base: the path of the base, or its hub id

        Raises:
            ThumbtuneError: one of them is.
        """
        check_pipeline(base, options)
        here = Path(self.source, self.config)
        file = here if Path(self.source).is_dir() else hub.settings_file(self.source, self.config)
        config = None if file is None else read_config(file)
        if config is None:
            return
        adapter = adapter_class_of((index_of(base) or {}).get("_class_name"))
        try:
            self._refuse_other_class(config, adapter.family)
        except ValueError as error:
            raise self._misfit(str(error)) from error
        vae = vae_config(base) or {}
        if self.part == UNET:
            check_configs(self.name, config, vae, ())
        else:
            adapter.check_settings(self.name, {self.part: config, VAE: vae})

    def _refuse_other_class(self, config: Mapping[str, Any], family: Family) -> None:
        own, other = family.networks[family.denoiser], config.get("_class_name")
        if self.part != family.denoiser or (self.part != UNET and other != own):
            raise ValueError(f"it is a {other or ALONE[self.part]}, and {family.name} has a {own}")

    def _misfit(self, why: str) -> ThumbtuneError:
        return ThumbtuneError(
            f"{self.name} is not a {ALONE[self.part]} for {self.base} ({why}); give its own base with --base.",
            code="side-misfit",
        )


def _refuse_other_sizes(network: Any, own: Any, part: str) -> None:
    """Raise a ValueError for a network of other sizes; UNets may differ in all but the width of the text."""
    if part == UNET:
        if network.config["cross_attention_dim"] != own.config["cross_attention_dim"]:
            raise ValueError(f"its text is {network.config['cross_attention_dim']} wide")
        return
    here, there = ({name: tuple(value.shape) for name, value in one.state_dict().items()} for one in (network, own))
    for name in {**here, **there}:
        if here.get(name) != there.get(name):
            sizes = " and ".join(
                f"{one.get(name, 'nothing')} in {whose}" for one, whose in ((here, "it"), (there, "the base"))
            )
            raise ValueError(f"{name} is {sizes}")
