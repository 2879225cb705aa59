"""The paper's networks: backbones behind the bottlenecks of Entropic Students, as in sc2bench."""
