"""The denoiser beside its peers."""
