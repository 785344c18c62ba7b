"""Training: the objectives of both stages and the loop that trains with them.

What belongs to one stage is named after it (`Stage1…`, `stage1_…`): stage 1 is the VQGANs, stage 2 the style transfer
network. `TrainingParams` say how a training goes, a `TrainingTask` says what is trained on what, and `TrainingState` is
what a checkpoint keeps. `pipeline.training.TrackedTraining` adds what the tracked run needs.
"""
