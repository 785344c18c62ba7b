"""The two networks of the paper: the VQGAN (stage 1) and the style transfer between two of them (stage 2)."""
