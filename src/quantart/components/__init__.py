"""The network's parts: blocks, autoencoder, quantiser, style transfer network and discriminator."""
