"""Attention state: what a sequence has computed so far."""

from engine.cache.explanation import explain
from engine.cache.kv_cache import KVCache, keep, kept
from engine.cache.prefix_cache import Lease, PrefixCache
from engine.cache.prefix_index import CacheIdentity, Departure, Ids, Kept, PrefixIndex, Work, as_ids
from engine.cache.system_prompt import SystemPrompt

__all__ = [
    "CacheIdentity",
    "Departure",
    "Ids",
    "KVCache",
    "Kept",
    "Lease",
    "PrefixCache",
    "PrefixIndex",
    "SystemPrompt",
    "Work",
    "as_ids",
    "explain",
    "keep",
    "kept",
]
