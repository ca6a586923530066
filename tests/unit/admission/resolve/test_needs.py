"""What is looked for in which image."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from modelcar.admission.asked import Asked
from modelcar.admission.resolve.needs import Need, needs
from modelcar.admission.settings import Mode

from .conftest import model, pod

BOTH = {"runAsUser": 1000, "runAsGroup": 1000}


def test_a_model_has_a_publisher_and_a_server_a_user() -> None:
    asked = Asked(models=(model("org/model"),), images=("org/model", "server", "policy-only"))
    assert needs(pod("server"), asked) == {
        "org/model": Need(publisher=True),
        "server": Need(user=True),
        "policy-only": Need(),
    }


@pytest.mark.parametrize(
    ("container", "of_pod", "is_needed"),
    [
        (BOTH, {}, False),
        ({}, BOTH, False),
        ({"runAsUser": 1}, {"runAsGroup": 1}, False),
        ({"runAsUser": 1}, {}, True),
        ({"runAsGroup": 1}, {}, True),
        ({}, {}, True),
        ({"runAsUser": None, "runAsGroup": 1}, {}, True),
    ],
)
def test_a_pod_that_says_both_ids_needs_no_facts(container: Any, of_pod: Any, is_needed: bool) -> None:
    asked = Asked(models=(model("org/model"),), images=("server",))
    assert needs(pod("server", security=container, securityContext=of_pod), asked) == {"server": Need(user=is_needed)}


def test_containers_that_see_no_model_and_image_volumes_need_no_user() -> None:
    elsewhere = replace(model("org/model"), containers=("sidecar",))
    volume = replace(model("org/model"), mode=Mode.IMAGE_VOLUME)
    for one in (elsewhere, volume):
        assert needs(pod("server"), Asked(models=(one,), images=("server",))) == {"server": Need()}


def test_one_container_of_two_with_the_same_image_suffices() -> None:
    value = pod("server", security=BOTH)
    value["spec"]["initContainers"] = [{"name": "warm-up", "image": "server"}]
    both = replace(model("org/model"), containers=("main", "warm-up"))
    assert needs(value, Asked(models=(both,), images=("server",)))["server"].user


@pytest.mark.parametrize(
    "spec",
    [
        None,
        [],
        {"containers": None},
        {"containers": [None, 1, {"image": 5}, {"image": "server"}]},
        {"securityContext": 1},
    ],
)
def test_pods_that_make_no_sense_raise_nothing(spec: Any) -> None:
    asked = Asked(models=(model("org/model"),), images=("server",))
    assert needs({"spec": spec}, asked) == {"server": Need()}
