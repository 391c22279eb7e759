"""Real tokenizers and text encoders at tiny size, made without a hub; letters are their words."""

import inspect
import json
import re
import string
from collections.abc import Sequence
from functools import cache
from typing import Any

LETTERS = f"▁{string.ascii_letters}{string.digits}.,:;-'\"()!?"
STARTS, ENDS = "<|startoftext|>", "<|endoftext|>"
QWEN_SPECIALS = (
    *("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>"),
    *("<|vision_pad|>", "<|image_pad|>", "<|video_pad|>", "<think>", "</think>"),
)
QWEN_TEMPLATE = (
    "{%- for m in messages %}{{'<|im_start|>' + m.role + '\\n' + (m.content if m.content is string else "
    "m.content[0].text) + '<|im_end|>\\n'}}{%- endfor %}{%- if add_generation_prompt %}{{'<|im_start|>assistant\\n'}}"
    "{%- if enable_thinking is defined and enable_thinking is false %}{{'<think>\\n\\n</think>\\n\\n'}}{%- endif %}"
    "{%- endif %}"
)
MISTRAL_SPECIALS = [
    *("<unk>", "<s>", "</s>", "<pad>", "[INST]", "[/INST]", "[SYSTEM_PROMPT]", "[/SYSTEM_PROMPT]"),
    *("[IMG]", "[IMG_BREAK]", "[IMG_END]"),
]
MISTRAL_TEMPLATE = (
    "{{'<s>'}}{%- for m in messages %}{%- if m.role == 'system' %}{{'[SYSTEM_PROMPT]' + m.content[0].text + "
    "'[/SYSTEM_PROMPT]'}}{%- else %}{{'[INST]' + m.content[0].text + '[/INST]'}}{%- endif %}{%- endfor %}"
)


def clip_tokenizer(pad: str = ENDS) -> Any:
    """CLIP's tokenizer with letters for words: 54 tokens, 8 places."""
    from transformers import CLIPTokenizer

    words = [*string.ascii_lowercase, *(f"{letter}</w>" for letter in string.ascii_lowercase), STARTS, ENDS]
    vocabulary = {word: i for i, word in enumerate(words)}
    return CLIPTokenizer(vocab=vocabulary, merges=[], model_max_length=8, pad_token=pad)


def t5_tokenizer() -> Any:
    """T5's tokenizer with letters for words."""
    from transformers import T5Tokenizer

    vocabulary = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), *((letter, -4.0) for letter in LETTERS)]
    return T5Tokenizer(vocab=vocabulary, extra_ids=0, model_max_length=512)


def clip(tokenizer: Any, projected: bool = False, **options: Any) -> Any:
    """A text encoder of CLIP with three layers, 16 wide."""
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    kind = CLIPTextModelWithProjection if projected else CLIPTextModel
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 3, "num_attention_heads": 2}
    ids = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id}
    config = {"vocab_size": len(tokenizer), "max_position_embeddings": 8, **sizes, **ids, **options}
    return kind(CLIPTextConfig(**config))


def t5(width: int = 32) -> Any:
    """T5's encoder with two layers."""
    from transformers import T5Config, T5EncoderModel

    return T5EncoderModel(T5Config(vocab_size=80, d_model=width, d_kv=8, d_ff=37, num_layers=2, num_heads=4))


def byte_pairs(specials: Sequence[str], texts: Sequence[str]) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """The vocabulary and the merges of a byte-level BPE in which the words of some texts are tokens."""
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=2000, special_tokens=list(specials), initial_alphabet=alphabet, min_frequency=1, show_progress=False
    )
    tokenizer.train_from_iterator([text for text in texts for _ in range(3)], trainer)
    model = json.loads(tokenizer.to_str())["model"]
    return model["vocab"], [tuple(merge) for merge in model["merges"]]


@cache
def _qwen_words() -> tuple[dict[str, int], list[tuple[str, str]]]:
    from diffusers import QwenImagePipeline  # its instruction is 34 tokens of whole words

    source = inspect.getsource(QwenImagePipeline.__init__)
    instruction = re.search(r"system\\n(.*?)<\|im_end\|>", source)
    assert instruction is not None
    return byte_pairs(QWEN_SPECIALS, [instruction[1], "system", "user", "assistant", "think"])


def qwen_tokenizer() -> Any:
    """Qwen's tokenizer with a chat template."""
    from transformers import Qwen2Tokenizer

    vocabulary, merges = _qwen_words()
    tokenizer = Qwen2Tokenizer(
        vocab=vocabulary,
        merges=merges,
        model_max_length=1024,
        additional_special_tokens=list(QWEN_SPECIALS[1:8]),
    )
    tokenizer.chat_template = QWEN_TEMPLATE
    return tokenizer


def gemma_tokenizer(length: int) -> Any:
    """Gemma's tokenizer with letters and bytes for words."""
    from transformers import GemmaTokenizer

    specials = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>", "<start_of_turn>", "<end_of_turn>"]
    words = [*specials, *(f"<0x{i:02X}>" for i in range(256)), *"▁", *string.ascii_lowercase]
    vocabulary = {word: i for i, word in enumerate(words)}
    tokenizer = GemmaTokenizer(vocab=vocabulary, merges=[], model_max_length=length, padding_side="right")
    tokenizer.add_bos_token = True
    return tokenizer


def qwen3(kind: str, layers: int) -> Any:
    """Qwen3, 16 wide."""
    import transformers

    heads = {"num_attention_heads": 2, "num_key_value_heads": 2, "head_dim": 8}
    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": layers, **heads}
    config = transformers.Qwen3Config(vocab_size=2000, max_position_embeddings=1024, **sizes)
    return getattr(transformers, kind)(config)


def gemma2() -> Any:
    """Gemma 2, 8 wide."""
    from transformers import Gemma2Config, Gemma2Model

    heads = {"num_attention_heads": 2, "num_key_value_heads": 2, "head_dim": 4}
    config = Gemma2Config(hidden_size=8, intermediate_size=8, num_hidden_layers=2, vocab_size=300, **heads)
    return Gemma2Model(config)


def mistral_tokenizer(texts: Sequence[str]) -> Any:
    """Mistral's tokenizer with a chat template, without the processor around it, which needs torchvision."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    vocabulary, merges = byte_pairs(MISTRAL_SPECIALS, texts)
    inner = Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=inner,
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
        pad_token="<pad>",
        padding_side="left",
        additional_special_tokens=MISTRAL_SPECIALS[4:],
        model_max_length=2048,
    )
    tokenizer.chat_template = MISTRAL_TEMPLATE
    return tokenizer
