"""Tiny random checkpoints in the standard Hugging Face layout: a real architecture without real weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

Family = Literal["llama", "mistral", "qwen2", "qwen3"]
FAMILIES: tuple[Family, ...] = ("llama", "mistral", "qwen2", "qwen3")

SPECIAL_TOKENS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
LLAMA3_ROPE = {
    "rope_type": "llama3",
    "rope_theta": 10_000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 32,
}
"""For ``make_tiny_checkpoint(..., rope_parameters=LLAMA3_ROPE)``."""

CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)

_CORPUS = (
    "The quick brown fox jumps over the lazy dog while the sun sets behind the hills.",
    "What is the capital of France? The capital of France is Paris.",
    "def add(left, right):\n    return left + right\n",
    "Numbers are 1, 2, 3 and 42; words are many. Ça va? 你好, мир, 🌍!",
)

_DEFAULTS: dict[str, Any] = {
    # Rows are multiples of 32 (the 4-bit kernels need that), and the vocabulary is wider than the
    # tokenizer's, as Qwen's is.
    "vocab_size": 384,
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
    "initializer_range": 0.15,
    "tie_word_embeddings": False,
}
_FAMILY_DEFAULTS: dict[str, dict[str, Any]] = {
    "llama": {},
    "mistral": {"sliding_window": None},
    "qwen2": {},
    "qwen3": {"head_dim": 32},
}


def make_tiny_checkpoint(
    folder: Path, family: Family, *, dtype: str = "bfloat16", seed: int = 0, **overrides: Any
) -> Path:
    """Save a two-layer random checkpoint of ``family`` with a working tokenizer; return ``folder``.

    ``overrides`` go to the family's transformers config: ``tie_word_embeddings``, ``attention_bias``,
    ``num_key_value_heads``, ``head_dim``, ``rope_parameters`` and so on. Norms and biases are random
    too, so that code which forgets one of them gives other logits.
    """
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, GenerationConfig

    tokenizer = make_tiny_tokenizer()
    stop_ids = [tokenizer.convert_tokens_to_ids(token) for token in ("<|im_end|>", "<|endoftext|>")]
    config = AutoConfig.for_model(
        family,
        **{**_DEFAULTS, **_FAMILY_DEFAULTS[family], **overrides},
        bos_token_id=None,
        eos_token_id=stop_ids[0],
        pad_token_id=stop_ids[1],
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
        with torch.no_grad():
            for name, weight in model.named_parameters():
                if name.endswith("bias"):
                    weight.normal_(0, 0.2)
                elif "norm" in name:
                    weight.normal_(1, 0.2)
    model.to(getattr(torch, dtype))
    model.generation_config = GenerationConfig(eos_token_id=stop_ids, pad_token_id=stop_ids[1], do_sample=False)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def make_tiny_tokenizer() -> Any:
    """A byte-level BPE tokenizer (any text survives the round trip) with a ChatML template."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=320,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_CORPUS, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        chat_template=CHAT_TEMPLATE,
        clean_up_tokenization_spaces=False,
    )
