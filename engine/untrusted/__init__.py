"""What strangers wrote, made safe to handle: texts, JSON and line-based files.

Every text that a person types, pastes or uploads, and every file that somebody else's tool made, comes in
through here before a tokenizer, a hash, the store or an export sees it.
"""

from engine.untrusted.json_text import MAX_DEPTH, is_too_deep, parse_json, read_json_file
from engine.untrusted.lines import Record, read_jsonl, split_lines
from engine.untrusted.text import decode_text, valid_text, valid_tree

__all__ = [
    "MAX_DEPTH",
    "Record",
    "decode_text",
    "is_too_deep",
    "parse_json",
    "read_json_file",
    "read_jsonl",
    "split_lines",
    "valid_text",
    "valid_tree",
]
