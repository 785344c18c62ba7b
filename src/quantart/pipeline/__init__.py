"""One module per stage of dvc.yaml, of the same name: reads the parameters, calls the work, logs it.

Beside them: `training`, what both training stages share, and `import_checkpoint`.
"""
