"""From a trained network to a picture: stylising at any size, the packaged model, its server."""
