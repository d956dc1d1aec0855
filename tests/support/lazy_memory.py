"""For tests of KV that takes memory as it is written."""

from __future__ import annotations

import pytest

from engine.cache import takes_by_use

needs_lazy_memory = pytest.mark.skipif(not takes_by_use(), reason="address space counts here as if it were written")
