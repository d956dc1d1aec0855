"""Llama 2's and Mistral's kind of tokenizer: pieces of text with scores, and bytes for what no piece spells.

SentencePiece in its BPE mode, https://github.com/google/sentencepiece. It joins the two neighbours whose union has the
best score, which merges in the order of scores do as well.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from gguf import TokenType
from tokenizers import Tokenizer, decoders, normalizers
from tokenizers.models import BPE

from engine.errors import WeightsIntegrityError

_SPACE = "\u2581"
_LONGEST_PIECE = 256
"""Characters; each place in a piece is tried as a merge."""


def sentence_piece_tokenizer(name: str, metadata: Mapping[str, Any], vocabulary: dict[str, int]) -> Tokenizer:
    """The tokenizer of a file whose ``tokenizer.ggml.model`` is llama; its special tokens are still to be added.

    Args:
        name: what the user calls the file.
        metadata: the file's.
        vocabulary: its tokens and their ids.

    Raises:
        WeightsIntegrityError: there are no scores, or no token for what is not known.
    """
    scores, kinds = metadata.get("tokenizer.ggml.scores"), metadata["tokenizer.ggml.token_type"]
    if not isinstance(scores, list) or len(scores) != len(kinds) or not all(_is_finite(score) for score in scores):
        raise WeightsIntegrityError(f"{name} does not give each of its tokens a score.")
    tokens = metadata["tokenizer.ggml.tokens"]
    unknown = metadata.get("tokenizer.ggml.unknown_token_id", 0)
    if type(unknown) is not int or not 0 <= unknown < len(tokens) or tokens[unknown] not in vocabulary:
        raise WeightsIntegrityError(f"{name} names {unknown!r:.60} as its unknown token, which is none.")
    pieces = {
        token: score for token, score, kind in zip(tokens, scores, kinds, strict=True) if kind == TokenType.NORMAL
    }
    merges = merges_by_score(pieces, vocabulary)
    tokenizer = Tokenizer(BPE(vocabulary, merges, unk_token=tokens[unknown], fuse_unk=True, byte_fallback=True))
    spaces: list[Any] = [normalizers.Replace(" ", _SPACE)]
    decoding: list[Any] = [decoders.Replace(_SPACE, " "), decoders.ByteFallback(), decoders.Fuse()]
    if metadata.get("tokenizer.ggml.add_space_prefix", True):
        spaces.insert(0, normalizers.Prepend(_SPACE))
        decoding.append(decoders.Strip(content=" ", left=1))
    tokenizer.normalizer = normalizers.Sequence(spaces)
    tokenizer.decoder = decoders.Sequence(decoding)
    return tokenizer


def merges_by_score(pieces: Mapping[str, float], vocabulary: Mapping[str, int]) -> list[tuple[str, str]]:
    """All ways to join two pieces into one, the union with the best score first.

    Args:
        pieces: the scores of what may be joined. A longer piece than 256 characters is never the outcome.
        vocabulary: ids; of several ways to the same piece, lower ids first.
    """
    found = []
    for piece, score in pieces.items():
        if len(piece) <= _LONGEST_PIECE:
            cuts = [(piece[:cut], piece[cut:]) for cut in range(1, len(piece))]
            ways = [(left, right) for left, right in cuts if left in vocabulary and right in vocabulary]
            ways.sort(key=lambda way: (vocabulary[way[0]], vocabulary[way[1]]))
            found += [(score, len(left), len(right), left, right) for left, right in ways]
    found.sort(key=lambda merge: merge[:3], reverse=True)
    return [(left, right) for *_, left, right in found]


def _is_finite(score: Any) -> bool:
    return isinstance(score, int | float) and not isinstance(score, bool) and math.isfinite(score)
