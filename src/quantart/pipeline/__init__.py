"""One module per stage of dvc.yaml, of the same name: reads the parameters, calls the work, logs it."""
