"""Experiment tracking with MLflow: where runs are kept, what a run holds, the links from stage to stage.

Training writes events to a spool on disk; a thread (`courier`) or `quantart sync` brings them to MLflow (`delivery`).
What other rooms use:

- `store`: `configure`, which every use of MLflow begins with; `EXPERIMENT`, `without_password`
- `runs`: `stage_run`, which survives an outage of the store; `stands_in`, for the other processes of a training
- `writer`: `TrackedRun` and `new_run`, which need the store
- `links`: `RunLink`, `read_link`, `write_link`: `runs/<stage>.json`
- `find`: `find_run`, `select_runs`, `linked_run`, `find_model`, `check_finished`, `run_in_words`
- `lineage`: `DataUsed`, `ancestry`, `data_of`, `upstream_of`, `find_sibling`
- `delivery`: `sync`; `ui`: `show_ui`, `runs_page`; `spool`: `find_spools`, for the doctor
"""
