"""QuantArt: vector-quantised style transfer (Huang et al., CVPR 2023) and the experiment platform around it."""

__version__ = "0.1.0"
