"""Commands for who brings ratehold to its machines: is a server ready, what a board installs from."""
