"""Training: the objectives of both stages and the loop that trains with them.

Stage 1, the VQGANs, has one (`Stage1Objective`); stage 2, the style transfer network, has one for each value of
`stage2.objective` (`PaintingObjective`, `ReferenceObjective`). `TrainingParams` say how a training goes, a
`TrainingTask` says what is trained on what, and `TrainingState` is what a checkpoint keeps.
`pipeline.training.TrackedTraining` adds what the tracked run needs.
"""
