from ..serving.conftest import control, network, noise, one_thread, pictures, registered

__all__ = ["control", "network", "noise", "one_thread", "pictures", "registered"]
