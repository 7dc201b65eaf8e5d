"""The demo's parts: what is written (plan), by whom (writer), what must be there (proof), how fast (latency)."""
