"""SIMD vectors, compilation and threads: what kernels of the denoiser and of engines are written in."""
