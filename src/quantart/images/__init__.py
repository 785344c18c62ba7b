"""Pictures: bytes and files to arrays and tensors, and back.

Outside the network a picture is a uint8 array `(h, w, 3)` in sRGB; inside it is a float tensor `(b, 3, h, w)` in
[-1, 1]. Untrusted pictures are decoded in one place, `quantart.images.decode`.
"""
