"""The same frames through every engine of this machine."""
