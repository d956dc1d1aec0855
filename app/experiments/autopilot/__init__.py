"""The autopilot: from limits on latency, quality and memory to a configuration that keeps them, shown on prompts that
had no part in choosing it."""
