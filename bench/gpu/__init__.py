"""Every check and timing that needs a GPU."""
