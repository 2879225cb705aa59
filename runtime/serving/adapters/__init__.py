"""The service on serving engines of others: each adapter carries bytes to ``runtime.serving.exchange``."""
