"""The tail server: requests a second, latency under load, memory, kills."""
