from ..serving.conftest import control, network, noise, one_thread, pictures

__all__ = ["control", "network", "noise", "one_thread", "pictures"]
