"""Priors: coding tables, the hyperprior and its exact h_s, fitted to latents."""
