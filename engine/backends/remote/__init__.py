"""Models of servers with OpenAI's API: vLLM, SGLang, llama-server, Ollama, LM Studio, hosted ones. None of it needs
torch.

What is asked for and read (``asking``, ``reading``, ``counters``), whether it is asked at all (``breaker``), one
request (``exchange``), all of them in a thread of their own (``network``), what a server lists (``listing``), and a
connection test (``probing``).
"""

from engine.backends.remote.listing import MOST_SERVED, list_served
from engine.backends.remote.probing import probe
from engine.backends.remote.words import MOST_SHOWN, error_message, one_line

__all__ = ["MOST_SERVED", "MOST_SHOWN", "error_message", "list_served", "one_line", "probe"]
