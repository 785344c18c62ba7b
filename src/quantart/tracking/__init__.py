"""Experiment tracking with MLflow: where runs are kept, what a run holds, the links from stage to stage.

Training writes events to a spool on disk (`runs`); a thread (`courier`) or `quantart sync` brings them to MLflow
(`delivery`). Work that needs the store writes to it directly (`writer`), after `store.configure`.
"""
