"""Torch on one thread: on a busy machine with two cores, two threads wait for each other at each operator."""

import torch

torch.set_num_threads(1)
