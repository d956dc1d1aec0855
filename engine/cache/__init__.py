"""Attention state: what a sequence has computed so far."""

from engine.cache.kv_cache import KVCache

__all__ = ["KVCache"]
