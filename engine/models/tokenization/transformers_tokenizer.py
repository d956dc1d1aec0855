"""A folder's tokenizer as transformers reads it: its class may build rules that ``tokenizer.json`` does not hold."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from engine.errors import InvalidRequestError
from engine.models.format.gate import LARGEST_TOKENIZER
from engine.models.tokenization.fast_tokenizer import FastTokenizer, TokenizerFacts, fingerprint
from engine.models.tokenization.stop_ids import stated_stop_ids
from engine.untrusted import read_json_file, valid_text


def read_tokenizer(folder: Path) -> FastTokenizer:
    """Read a tokenizer. Imports transformers, which takes seconds the first time.

    Args:
        folder: holds ``config.json`` and the tokenizer's files.

    Raises:
        InvalidRequestError: the chat template is none, or the settings that say where answers end are none.
    """
    from transformers.models.auto.configuration_auto import AutoConfig
    from transformers.models.auto.tokenization_auto import AutoTokenizer

    _check_stated_template(folder)
    # AutoTokenizer, not the bare tokenizer.json: Qwen's class adds the NFC step
    hf: Any = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    vocabulary = hf.get_vocab()
    first: list[int] = hf("a")["input_ids"][:1]
    facts = TokenizerFacts(
        vocab_size=max(vocabulary.values(), default=-1) + 1,
        fingerprint=fingerprint(vocabulary),
        stop_ids=tuple(sorted(stated_stop_ids(hf, folder, config))),
        bos_id=first[0] if first == [hf.bos_token_id] else None,
        unknown_id=hf.unk_token_id,
        splits_controls=bool(hf.split_special_tokens),
        template=valid_text(_template_source(hf)),
        variables={name: valid_text(token) for name, token in hf.special_tokens_map.items()},
    )
    return FastTokenizer(hf.backend_tokenizer, facts)


def _check_stated_template(folder: Path) -> None:
    """Refuse what transformers would stumble over."""
    path = folder / "tokenizer_config.json"
    if not path.is_file():
        return
    try:
        stated = read_json_file(path, LARGEST_TOKENIZER)
    except ValueError as error:
        raise InvalidRequestError(f"{path.name} of this model cannot be read: {error}.") from error
    template = stated.get("chat_template") if isinstance(stated, dict) else None
    named = template if isinstance(template, list) else []
    if not isinstance(template, str | list | dict | None) or not all(
        isinstance(entry, dict) and isinstance(entry.get("name"), str) and isinstance(entry.get("template"), str)
        for entry in named
    ):
        raise InvalidRequestError(
            f"The chat template in {path.name} of this model is none: a text is needed, or a list of names and texts."
        )


def _template_source(tokenizer: Any) -> str:
    """The template for chats without tools; empty if the model has none."""
    templates = tokenizer.chat_template
    if not isinstance(templates, dict):
        return str(templates or "")
    if "default" not in templates:
        raise InvalidRequestError(
            f"This model has several chat templates ({', '.join(map(str, templates))}), and none is its default."
        )
    return str(templates["default"])
