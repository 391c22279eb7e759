"""Options by the names that other trainers give them, so that an unknown option can name ours.

The names are those of TRL, diffusers' and kohya's scripts, SimpleTuner and the Diffusion-DPO repository. `-` and `_`
are the same in them, and capitals do not matter.
"""

import difflib
from collections.abc import Collection

OTHERS = {
    "train.lr": "learning_rate learningrate unet_lr lr_rate",
    "train.steps": "max_steps max_train_steps num_train_steps num_steps train_steps iterations max_iterations epochs "
    "num_train_epochs max_train_epochs num_epochs",
    "train.batch": "batch_size train_batch_size per_device_train_batch_size global_batch_size",
    "train.micro_batch": "gradient_accumulation_steps micro_batch_size mini_batch_size gradient_accumulation",
    "train.warmup": "lr_warmup_steps warmup_steps lr_warmup",
    "train.cooldown": "lr_decay_steps decay_steps lr_scheduler lr_scheduler_type",
    "train.max_grad_norm": "gradient_clipping clip_grad_norm grad_clip",
    "train.weight_decay": "adam_weight_decay",
    "train.optimizer": "optim optimizer_type use_8bit_adam adam_8bit optimiser",
    "train.quantize_base": "load_in_4bit load_in_8bit quantization_config quantize fp8_base base_model_precision qlora",
    "train.ema": "use_ema ema_decay",
    "train.sync_reference_every": "sync_ref_model ref_model_sync_steps",
    "train.precision": "mixed_precision bf16 fp16 dtype torch_dtype",
    "train.gradient_checkpointing": "grad_checkpointing",
    "train.blocks_to_swap": "block_swap blocks_swap swap_blocks layer_offload_fraction enable_group_offload "
    "group_offload use_group_offload offload_blocks block_offload offload_base layer_offloading cpu_offload "
    "double_blocks_to_swap single_blocks_to_swap enable_model_cpu_offload low_vram",
    "train.shard": "fsdp fsdp2 use_fsdp fsdp_config full_shard fully_shard sharding_strategy fsdp_sharding_strategy "
    "zero zero_stage zero3 deepspeed use_deepspeed",
    "train.checkpoint_every": "save_steps checkpointing_steps save_every_n_steps checkpoint_steps save_every",
    "train.keep_checkpoints": "save_total_limit checkpoints_total_limit save_last_n_steps",
    "train.validate_every": "eval_steps eval_every validation_steps",
    "train.report_to": "log_with tracker trackers use_wandb wandb logger loggers report_with",
    "train.sample_every": "sample_every_n_steps validation_epochs sample_steps_interval sampling_steps_every",
    "train.validation_share": "test_size validation_split eval_split val_split",
    "train.prompt_dropout": "caption_dropout_rate proportion_empty_prompts caption_dropout_probability",
    "train.timestep_density": "timestep_sampling weighting_scheme",
    "train.logit_std": "sigmoid_scale",
    "train.timestep_shift": "discrete_flow_shift flow_shift training_shift",
    "train.timestep_weighting": "loss_weighting loss_weighting_scheme",
    "train.weights": "full_finetune train_type lora_type model_type",
    "lora.start": "network_weights lora_weights pretrained_lora resume_lora",
    "lora.rank": "network_dim lora_rank rank r lora_r lora_dim",
    "lora.alpha": "network_alpha lora_alpha alpha",
    "lora.targets": "target_modules lora_target_modules lora_targets",
    "lora.conv_rank": "conv_dim lora_conv_dim",
    "lora.conv_alpha": "lora_conv_alpha",
    "lora.dora": "use_dora dora_wd weight_decompose",
    "objective.name": "loss loss_type objective train_method trainer",
    "objective.beta": "beta beta_dpo dpo_beta kto_beta",
    "objective.liked_weight": "desirable_weight",
    "objective.disliked_weight": "undesirable_weight",
    "model": "pretrained_model_name_or_path model_name_or_path model_name base_model pretrained_model base checkpoint",
    "vae": "pretrained_vae_model_name_or_path vae_path vae_model",
    "prediction": "v_parameterization prediction_type parameterization v_pred",
    "zero_terminal_snr": "rescale_betas_zero_snr zero_snr zsnr ztsnr",
    "frames": "num_frames target_frames num_video_frames video_length frame_count max_frames",
    "train.size": "resolution image_size train_resolution max_resolution",
    "train.buckets": "enable_bucket aspect_ratio_bucketing use_buckets bucketing",
    "train.flip": "flip_aug random_flip flip",
    "likes": "train_data_dir dataset_name dataset data data_dir instance_data_dir train_data store",
    "seed": "random_seed",
    "evaluate.per_prompt": "seeds num_seeds images_per_prompt num_images_per_prompt num_validation_images",
    "evaluate.prompts": "prompt validation_prompt validation_prompts sample_prompts prompts eval_prompts",
    "evaluate.negative_prompt": "negative validation_negative_prompt neg_prompt",
    "prompts.over_length": "max_token_length tokenizer_max_length text_encoder_max_length",
    "prompts.syntax": "weighted_captions prompt_weighting emphasis",
    "prompts.clip_skip": "clip_stop_at_last_layers text_encoder_layer_skip",
    "evaluate.steps": "num_inference_steps sample_steps",
    "evaluate.guidance": "guidance_scale cfg_scale cfg",
    "evaluate.scorers": "reward reward_model reward_fn scorer scorers",
    "--out": "output_dir output out_dir output_name logging_dir save_dir",
    "--resume": "resume_from_checkpoint resume_from continue",
}
OURS = {name: option for option, names in OTHERS.items() for name in names.split()}
MIN_SIMILARITY = 0.7  # between an unknown option and the known one that is suggested


def advice_on_name(name: str) -> str:
    """Return what to do about a recipe that is not there: the shipped one that is meant, or else all of them."""
    from thumbtune.models.missing import RECIPES, model_of_recipe, recipe_called  # which loads torch

    known = sorted(file.stem for file in RECIPES.glob("*.yaml"))
    called, close = recipe_called(name), difflib.get_close_matches(name.lower(), known, 1)
    if called is not None and close != [called]:
        meant = f"did you mean the recipe {called}, of {model_of_recipe(called)}? Else "
    else:
        meant = f"did you mean {close[0]}? Else " if close else ""
    return f"{meant}check the path, or name a shipped one: {', '.join(known)}"


def our_name(name: str, options: Collection[str]) -> str | None:
    """Return our option for a name that is not one: that of another tool, or the closest name of ours; None if none is.

    >>> our_name("--learning-rate", ["train.lr"]), our_name("train.stesp", ["train.steps"])
    ('train.lr', 'train.steps')
    """
    plain = name.lstrip("-").replace("-", "_").casefold()
    last = {option.rpartition(".")[2]: option for option in reversed(list(options))}  # of several, the first
    word = plain.rpartition(".")[2]
    if plain in options:
        return plain
    if word in last and plain == word:
        return last[word]
    section = plain.rpartition(".")[0]
    if section and word in OURS and OURS[word].startswith(f"{section}."):
        return OURS[word]
    if word in OURS and difflib.get_close_matches(plain, options, 1, 0.85) == []:
        return OURS[word]
    close = difflib.get_close_matches(plain, options, 1)
    if close:
        return close[0]
    return next((last[near] for near in difflib.get_close_matches(word, list(last), 1, MIN_SIMILARITY)), None)
