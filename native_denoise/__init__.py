"""Total-variation denoising of images: the problem, a float64 reference, Numba CPU and CUDA solvers."""
