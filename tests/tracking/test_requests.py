"""How many requests the pipeline sends to a tracking server."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ..faults.test_tracking import Server
from ..test_end_to_end import call, make_repository

REQUEST = re.compile(r'"(GET|POST|PUT|PATCH|DELETE) (\S+) HTTP')


@pytest.mark.slow
def test_the_pipeline_takes_few_requests(tmp_path: Path) -> None:
    server = Server(tmp_path)
    server.start()
    try:
        project = tmp_path / "project"
        project.mkdir()
        make_repository(project)
        call(project, "dvc", "repro", MLFLOW_TRACKING_URI=server.uri)
    finally:
        server.kill()
    requests = REQUEST.findall((tmp_path / "server.log").read_text())
    sent = [f"{method} {path}" for method, path in requests if path != "/health"]
    assert len(sent) > 100
    assert len(sent) <= 280, "\n".join(sent)
    assert not [each for each in sent if "get-history" in each]
