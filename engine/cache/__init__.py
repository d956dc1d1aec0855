"""Attention state: what a sequence has computed so far."""

from engine.cache.explanation import explain
from engine.cache.kv_cache import CHUNK, KVCache, read_kv, takes_by_use, write_kv
from engine.cache.prefix_cache import Lease, PrefixCache
from engine.cache.prefix_index import CacheIdentity, Entry, EvictionReason, Ids, PrefixIndex, Work, as_ids
from engine.cache.system_prompt import SystemPrompt

__all__ = [
    "CHUNK",
    "CacheIdentity",
    "Entry",
    "EvictionReason",
    "Ids",
    "KVCache",
    "Lease",
    "PrefixCache",
    "PrefixIndex",
    "SystemPrompt",
    "Work",
    "as_ids",
    "explain",
    "read_kv",
    "takes_by_use",
    "write_kv",
]
