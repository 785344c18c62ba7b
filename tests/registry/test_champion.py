import json
from collections.abc import Callable
from uuid import uuid4

import pytest
from mlflow import MlflowClient
from mlflow.entities.model_registry import RegisteredModel

from quantart.errors import UserError
from quantart.project import Project
from quantart.registry.promotion import champion_of, history, move, rollback

from .versions import add_version


@pytest.fixture
def name(project: Project) -> str:
    """A registered model of its own for each test, with three versions, none of them champion."""
    name = uuid4().hex
    for _ in range(3):
        add_version(name)
    return name


def model(name: str) -> RegisteredModel:
    return MlflowClient().get_registered_model(name)


@pytest.fixture
def back(project: Project) -> Callable[[str], str]:
    """Rolls a model back; the version that is then its champion."""
    return lambda name: rollback(project, name).version


def test_the_first_champion_has_none_before_it(name: str) -> None:
    assert champion_of(model(name)) is None
    made = move(model(name), "2")
    assert champion_of(model(name)) == "2"
    assert history(model(name)) == [made]
    assert (made.version, made.before) == ("2", None)
    assert str(made).endswith("UTC  version 2 promoted as the first")


def test_rollback_goes_back_step_by_step_and_is_part_of_the_history(name: str, back: Callable[[str], str]) -> None:
    for version in ("1", "2", "3", "2"):
        move(model(name), version)
    assert [back(name), back(name), back(name)] == ["3", "2", "1"]
    assert champion_of(model(name)) == "1"
    with pytest.raises(UserError) as refused:
        back(name)
    assert refused.value.fault.startswith(name)
    assert "version 1 is the champion" in refused.value.remedy
    assert [(each.version, each.before, len(each.undoes)) for each in history(model(name))[4:]] == [
        ("3", "2", 1),
        ("2", "3", 1),
        ("1", "2", 1),
    ]


def test_after_a_rollback_a_promotion_goes_on_from_there(name: str, back: Callable[[str], str]) -> None:
    for version in ("1", "2"):
        move(model(name), version)
    assert back(name) == "1"
    move(model(name), "3")
    assert [back(name), champion_of(model(name))] == ["1", "1"]


def test_a_deleted_version_is_passed_over(name: str, back: Callable[[str], str]) -> None:
    for version in ("1", "2", "3"):
        move(model(name), version)
    MlflowClient().delete_model_version(name, "2")
    assert back(name) == "1"


def test_of_two_promotions_at_once_the_last_wins_and_either_leads_back(name: str, back: Callable[[str], str]) -> None:
    move(model(name), "1")
    seen = model(name)
    move(seen, "2")
    move(seen, "3")
    assert champion_of(model(name)) == "3"
    assert {(each.version, each.before) for each in history(model(name))} == {("1", None), ("2", "1"), ("3", "1")}
    assert back(name) == "1"
    MlflowClient().set_registered_model_alias(name, "champion", "2")
    assert back(name) == "1"


@pytest.mark.parametrize("killed_in", ["set_registered_model_alias", "set_registered_model_tag"])
def test_killed_in_between_the_way_back_stays(
    name: str, back: Callable[[str], str], killed_in: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    for version in ("1", "2"):
        move(model(name), version)
    for act in (lambda: back(name), lambda: move(model(name), "3")):
        with monkeypatch.context() as patch:
            patch.setattr(MlflowClient, killed_in, killed)
            with pytest.raises(KeyboardInterrupt):
                act()
    if champion_of(model(name)) == "2":
        assert back(name) == "1"
    assert champion_of(model(name)) == "1"


def test_without_a_champion_there_is_nothing_to_roll_back(name: str, back: Callable[[str], str]) -> None:
    with pytest.raises(UserError) as refused:
        back(name)
    assert name in refused.value.fault
    assert "`quantart registry promote`" in refused.value.remedy


@pytest.mark.parametrize(
    ("key", "text"), [("20261123", "{}"), ("20261123T200824.123456Z", json.dumps({"version": "1"}))]
)
def test_a_tag_changed_by_hand_is_a_sentence(name: str, key: str, text: str) -> None:
    MlflowClient().set_registered_model_tag(name, f"champion.move.{key}", text)
    with pytest.raises(UserError) as refused:
        history(model(name))
    assert f"{name}: its tag champion.move.{key}" in refused.value.fault
    assert refused.value.remedy == "delete it"
