"""Priors fitted to latents: coding tables, the hyperprior and its exact h_s."""
