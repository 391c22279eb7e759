"""The sections of a recipe: every option with its type, its default and a line of help."""

from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)

from thumbtune.runs import values

OBJECTIVES = ("kto", "bco", "dpo", "nft", "sft", "csft")
OWN_REFERENCE_POINT = {"bco": "balanced", "dpo": "zero", "nft": "zero", "sft": "zero", "csft": "zero"}
KTO_ALONE = ("utility", "log_ratio", "liked_weight", "disliked_weight")
WITHOUT_GAIN = (*KTO_ALONE, "beta", "gain_scale", "reference_point", "anchor")
UNUSED_OPTIONS = {  # of each objective
    "kto": ("mix",),
    "bco": (*KTO_ALONE, "mix"),
    "dpo": (*KTO_ALONE, "reference_point", "mix"),
    "nft": WITHOUT_GAIN,
    "sft": (*WITHOUT_GAIN, "mix"),
    "csft": (*WITHOUT_GAIN, "mix"),
}
OF_OBJECTIVE = {"mix": "nft"}  # the objective that uses an option, where it is not kto
OF_DENSITY = {  # the densities that use an option
    "logit_mean": ("auto", "logit-normal"),
    "logit_std": ("auto", "logit-normal"),
    "mode_scale": ("mode",),
}
NUMBERS = (int, float, int | None, float | None)
FIXED_SHARE = ("dpo", "sft")  # as many likes as dislikes, and likes alone, whatever train.liked_share is
WHY_NO_WINDOW = {  # for dislikes
    "dpo": ", since both images of a pair share one time",
    "sft": ", since it learns from likes alone",
}


class Section(BaseModel):
    """A part of a recipe. It refuses unknown options, and its values never change."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    _finite = field_validator("*")(values.finite)

    @field_validator("*", mode="before")
    @classmethod
    def _given(cls, value: Any, info: ValidationInfo) -> Any:
        """Check what was given before it becomes a number, or a text that is shown."""
        field = cls.model_fields[str(info.field_name)]
        value = values.as_option(value, field.annotation)
        return values.number(value) if field.annotation in NUMBERS else values.no_password(value)


class LoraSection(Section):
    """The LoRA adapter that is trained, unless train.weights is full."""

    start: Annotated[str | None, BeforeValidator(values.text_of)] = Field(
        default=None,
        description="A LoRA to begin from, in the form of diffusers, kohya or PEFT: a .safetensors file, a folder or a "
        "run. It gives the rank, alpha and layers. Default: a new one.",
    )
    reference: Literal["last", "base"] = Field(
        default="last",
        description="With lora.start: the reference that training holds on to. last: the model with that LoRA, so that "
        "each round may move as far; base: the model without it, so that all rounds together stay near the base.",
    )
    rank: int = Field(default=16, ge=1, description="Rank of the LoRA matrices: higher learns more, in a larger file.")
    alpha: float = Field(default=16.0, gt=0, description="Scale of the LoRA: its update is multiplied by alpha / rank.")
    targets: Literal["attention", "attention-and-feed-forward", "with-convolutions"] = Field(
        default="attention",
        description="The layers that get a LoRA: attention; attention-and-feed-forward (all of the transformers, the "
        "default of sd-scripts); with-convolutions (those and the residual blocks, conv_dim in sd-scripts).",
    )
    conv_rank: int | None = Field(
        default=None,
        ge=1,
        description="With targets with-convolutions: the rank of convolutions larger than 1 x 1. Default: rank.",
    )
    conv_alpha: float | None = Field(
        default=None,
        gt=0,
        description="With targets with-convolutions: the alpha of convolutions larger than 1 x 1. Default: the one "
        "that gives them the scale of the other layers.",
    )
    dora: bool = Field(
        default=False,
        description="Train the length of each row of weights too (DoRA): more time and memory. ComfyUI and A1111 "
        "apply a DoRA by other formulas; `thumbtune merge` makes a model that is the same everywhere.",
    )

    @model_validator(mode="after")
    def _refuse_unused_options(self) -> Self:
        for option, field in type(self).model_fields.items():
            if (
                self.start is not None
                and option not in {"start", "reference"}
                and getattr(self, option) != field.default
            ):
                raise values.UnusedOption(
                    f"lora.{option} is not used with lora.start, whose file gives it: leave out one of them"
                )
        if self.reference != "last" and self.start is None:
            raise values.UnusedOption(
                "lora.reference works only with lora.start: leave it out, or name a LoRA to begin from"
            )
        for option in ("conv_rank", "conv_alpha"):
            if getattr(self, option) is not None and self.targets != "with-convolutions":
                raise values.UnusedOption(
                    f"lora.{option} works only with lora.targets=with-convolutions: leave it out, or set these targets"
                )
        return self


class ObjectiveSection(Section):
    """The loss that turns likes and dislikes into a gradient."""

    name: Annotated[str, AfterValidator(values.one_of(*OBJECTIVES))] = Field(
        default="kto",
        description="The objective: kto (Diffusion-KTO); bco; dpo, on pairs of a liked and a disliked image of one "
        "prompt; nft (the loss of DiffusionNFT, whose push on dislikes has an end); sft, on likes alone; csft, on all "
        "images, with good or bad prompt prefixes; your own, my_file:Name.",
    )
    utility: Annotated[str, AfterValidator(values.one_of("kahneman-tversky", "loss-averse", "risk-seeking"))] = Field(
        default="kahneman-tversky",
        description="Utility of a gain in kto: kahneman-tversky, loss-averse, risk-seeking or your own, my_file:name.",
    )
    log_ratio: Literal["absolute", "relative"] = Field(
        default="absolute",
        description="What kto's beta multiplies: absolute, the difference of the two errors, which weighs noise levels "
        "by their errors; or relative, its share of the reference's error, which weighs them alike. A number of beta "
        "for relative is about 10.",
    )
    beta: Annotated[Any, AfterValidator(values.beta)] = Field(
        default="auto",
        description="Scale of the log-ratios, which holds the policy to the reference: a number "
        "(5000 in the paper), or auto, which adapts it during training.",
    )
    gain_scale: float = Field(
        default=1.0,
        gt=0,
        description="With beta auto: a factor of the range 0.25 to 2, to which beta moves the median gain.",
    )
    reference_point: Literal["batch", "mismatched", "balanced", "running", "zero"] = Field(
        default="batch",
        description="Estimator of the reference point: batch, mismatched, balanced, running or zero. Default: "
        "batch; balanced for bco; zero for dpo, nft, sft and csft, which do not use it.",
    )
    liked_weight: float = Field(default=1.0, ge=0, description="Weight of liked images in the loss of kto.")
    disliked_weight: float = Field(default=1.0, ge=0, description="Weight of disliked images in the loss of kto.")
    anchor: float = Field(
        default=0.0,
        ge=0,
        description="Weight of the denoising error of liked images, which is added to the loss. "
        "At the first step, kto weights the error of an image by beta / 4. 0: not added.",
    )

    mix: float = Field(
        default=0.5,
        gt=0,
        description="Of nft, its paper's beta: the network that is judged is this share of the way from the reference "
        "to the policy, and for dislikes as far the other way. Lower: a larger push.",
    )

    @model_validator(mode="before")
    @classmethod
    def _own_reference_point(cls, given: Any) -> Any:
        """Set the default: bco with another point would be kto, and objectives without a gain need none."""
        own = OWN_REFERENCE_POINT.get(str(given.get("name"))) if isinstance(given, dict) else None
        return {"reference_point": own, **given} if own else given

    @model_validator(mode="after")
    def _refuse_unused_options(self) -> Self:
        for option in UNUSED_OPTIONS.get(self.name, ()):
            usual = (
                OWN_REFERENCE_POINT[self.name]
                if option == "reference_point"
                else type(self).model_fields[option].default
            )
            if getattr(self, option) != usual:
                raise values.UnusedOption(
                    f"{self.name} does not use objective.{option}: leave it out or at {usual}, or choose "
                    f"{OF_OBJECTIVE.get(option, 'kto')}"
                )
        if self.beta != "auto" and self.gain_scale != 1:
            raise values.UnusedOption(
                "objective.gain_scale works only with beta auto: leave out gain_scale or the number of objective.beta"
            )
        return self


class TrainSection(Section):
    """How to train."""

    weights: Literal["lora", "full"] = Field(
        default="lora",
        description="The weights that are trained: lora (a small adapter) or full (all weights, which needs a "
        "far lower lr).",
    )
    steps: int = Field(default=50, ge=1, description="Number of weight updates.")
    batch: int = Field(default=32, ge=1, description="Images per weight update, over all processes.")
    size: Annotated[int | None, BeforeValidator(values.side)] = Field(
        default=None,
        ge=values.MIN_SIDE,
        le=values.MAX_SIDE,
        description="Side of the square in pixels that an image is trained in; other shapes have its area. Default: "
        "the model's own size.",
    )
    buckets: bool = Field(
        default=True,
        description="Train each image in its own shape, from 1:4 to 4:1, and enlarge none (docs/sizes.md). false: cut "
        "each to a centre square, and enlarge small ones.",
    )
    flip: bool = Field(
        default=False, description="Mirror each image half of the time; not for images with text or a left and right."
    )
    micro_batch: Annotated[Any, AfterValidator(values.count_or_auto)] = Field(
        default=32,
        description="Images in the network at once: a number, or auto, which begins with all and halves the number "
        "when memory runs out (on a CPU: 1). A lower number saves memory; the result stays the same.",
    )
    lr: float = Field(default=5e-4, gt=0, description="Learning rate of AdamW after the warm-up.")
    warmup: int = Field(
        default=10, ge=0, description="Number of first steps, in which the learning rate rises from zero."
    )
    cooldown: int = Field(
        default=20, ge=0, description="Number of last steps, in which the learning rate falls to zero."
    )
    max_grad_norm: float = Field(
        default=1.0, gt=0, description="Largest norm of a gradient; larger gradients are scaled down to it."
    )
    weight_decay: float = Field(default=0.01, ge=0, description="Weight decay of AdamW.")
    optimizer: Literal["adamw", "adamw-8bit"] = Field(
        default="adamw",
        description="The optimiser: adamw, or adamw-8bit, which keeps its moments in 8 bits in place of 32. With "
        "weights full this saves gigabytes; it needs `pip install 'thumbtune[8bit]'`.",
    )
    ema: float = Field(
        default=0.0,
        ge=0,
        lt=1,
        description="Decay of the exponential moving average (EMA) of the weights, which is then the result. 0: "
        "no EMA.",
    )
    sync_reference_every: int = Field(
        default=0, ge=0, description="Copy the policy into the reference every N steps. 0: never."
    )
    liked_share: float = Field(
        default=0.8,
        gt=0,
        le=1,
        description="Average share of liked images in a batch: the paper's gamma. Not used by dpo and sft.",
    )
    prompt_dropout: float = Field(
        default=0.1,
        ge=0,
        lt=1,
        description="Probability that an image is trained without its prompt, which classifier-free guidance needs.",
    )
    timestep_bias: float = Field(
        default=1.0,
        gt=0,
        description="How often noise levels are sampled. 1: all equally; above 1: high noise more; below 1: low "
        "noise more. It changes the uniform numbers from which the density makes noise levels.",
    )
    disliked_timesteps: Annotated[list[float], BeforeValidator(values.window)] = Field(
        default=[0.0, 1.0],
        description="The window of noise levels of disliked images, [low, high] as shares of the process: 0 is a clean "
        "image, 1 pure noise; sigma for rectified flow. [0.5, 1]: the noisier half. Not used by dpo and sft.",
    )
    noise_draws: int = Field(
        default=0,
        ge=0,
        le=4096,
        description="Number of draws of noise and noise level for each image. The reference denoises each of them "
        "once, so that a step costs less when they repeat; draws of an image cover all noise levels evenly. 0: a new "
        "draw at each step.",
    )
    timestep_density: Literal["auto", "uniform", "logit-normal", "mode"] = Field(
        default="auto",
        description="How often noise levels are sampled by a model of rectified flow, before their shift: uniform, "
        "logit-normal or mode (docs/flow-models.md). auto: logit-normal; uniform for other models, which have no "
        "other one.",
    )
    logit_mean: float = Field(
        default=0.0, ge=-10, le=10, description="Mean of the logit-normal density; above 0: high noise more often."
    )
    logit_std: float = Field(
        default=1.0, ge=0.01, le=10, description="Deviation of the logit-normal density; below 1: the middle more."
    )
    mode_scale: float = Field(
        default=1.29,
        ge=-1,
        le=1.75,
        description="Scale of the density mode; above 0: the middle more often; below 0: low and high noise more.",
    )
    timestep_shift: Annotated[Any, AfterValidator(values.shift)] = Field(
        default="auto",
        description="Shift of the noise levels of rectified flow, s u / (1 + (s - 1) u): a number, above 1 for more "
        "noise, or auto, that of the model's scheduler, which may grow with the size of an image.",
    )
    timestep_weighting: Literal["none", "sigma-sqrt", "cosmap", "elbo"] = Field(
        default="none",
        description="Weight of squared errors by noise level: none, sigma-sqrt or cosmap of diffusers, or elbo. For "
        "kto, bco and dpo it is a factor of beta, not of the loss (docs/flow-models.md).",
    )
    validation_share: float = Field(
        default=0.2,
        ge=0,
        lt=1,
        description="Share of the prompts that is held out for validation, with all feedback on them.",
    )
    precision: Literal["auto", "no", "bf16", "fp16"] = Field(
        default="no",
        description="Mixed precision of the forward pass: no, bf16, or fp16, which needs a GPU; or auto: bf16 or else "
        "fp16 on an NVIDIA or AMD GPU, otherwise no.",
    )
    gradient_checkpointing: bool = Field(
        default=False,
        description="Recompute activations instead of storing them: less memory, more time, same result.",
    )
    quantize_base: Literal["no", "int8", "nf4"] = Field(
        default="no",
        description="With weights lora: the frozen linear layers of the base in 8 bits (int8) or 4.5 bits (nf4, which "
        "needs `pip install 'thumbtune[8bit]'`) while training: less memory, more time, and a less exact base. The "
        "LoRA is for the base as it was.",
    )
    blocks_to_swap: Annotated[Any, AfterValidator(values.blocks)] = Field(
        default=0,
        description="With weights lora: the number of blocks of the network, from the first, whose frozen weights stay "
        "in the memory of the machine and are copied to the GPU when they are used; or all. Less memory, more time, "
        "same result.",
    )
    shard: bool = Field(
        default=False,
        description="With several processes: divide the weights of the network among them, with the optimiser and the "
        "reference if weights is full (FSDP2, docs/memory.md). Less memory in each, more time, same result.",
    )
    checkpoint_every: int = Field(default=50, ge=1, description="Steps between checkpoints.")
    keep_checkpoints: int = Field(
        default=0, ge=0, description="Number of newest checkpoints to keep, plus the best with guards. 0: keep all."
    )
    guards: bool = Field(
        default=True, description="Stop a training that goes wrong, and return to its best checkpoint."
    )
    validate_every: int = Field(
        default=25, ge=0, description="Steps between two validations on held-out feedback. 0: no validation."
    )
    report_to: Annotated[list[str], BeforeValidator(values.listed), AfterValidator(values.trackers)] = Field(
        default_factory=list,
        description="Trackers that get the numbers of each step: tensorboard, wandb, trackio, mlflow; several with "
        "commas between (docs/trackers.md). steps.jsonl has them all the same. Default: no tracker.",
    )
    sample_every: int = Field(
        default=0,
        ge=0,
        description="Steps between two sets of sample images, of up to four prompts and the same seeds, in the folder "
        "samples of the run and in its trackers. 0: no samples.",
    )

    @property
    def reaches_validation(self) -> bool:
        """Return whether a validation falls within the run, if feedback is held out."""
        return 0 < self.validate_every <= self.steps

    @model_validator(mode="after")
    def _refuse_unused_options(self) -> Self:
        for option, densities in OF_DENSITY.items():
            default = type(self).model_fields[option].default
            if getattr(self, option) != default and self.timestep_density not in densities:
                raise values.UnusedOption(
                    f"train.{option} works only with train.timestep_density={densities[-1]}: leave {option} out or at "
                    f"{default:g}, or set this density"
                )
        return self
