from ..evaluation.conftest import lpips, model, perception, pictures, task, variant, vqgan

__all__ = ["lpips", "model", "perception", "pictures", "task", "variant", "vqgan"]
