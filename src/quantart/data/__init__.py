"""From a folder of pictures to batches: finding, checking, splitting, packing and reading them."""
