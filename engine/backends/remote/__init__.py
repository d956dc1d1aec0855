"""Models of servers with OpenAI's API: vLLM, SGLang, llama-server, Ollama, LM Studio, hosted ones. None of it needs
torch.

What is asked for and read (``asking``, ``reading``, ``counters``), whether it is asked at all (``breaker``), one
request (``exchange``), all of them in a thread of their own (``network``), and a connection test (``probing``).
"""

from engine.backends.remote.probing import probe

__all__ = ["probe"]
