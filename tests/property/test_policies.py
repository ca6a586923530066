"""Policies: globs against a plain implementation, parser against schemas, and what no combination may bring about."""

from __future__ import annotations

import copy
import json
from functools import cache
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from modelcar.errors import UsageError
from modelcar.oci import Digest, Reference
from modelcar.signing.policy import SCAN_VERDICT, Default, parse
from modelcar.signing.policy.documents import parse_documents
from modelcar.signing.policy.globs import Glob, image_names
from modelcar.signing.regexes import Regex
from tests.support.examples import examples
from tests.support.policies import (
    DIGEST,
    Someone,
    as_file,
    cluster_image_policy,
    decide,
    deny_list,
    model_policy,
    scan_rule,
    together,
)
from tests.support.policy_documents import BEYOND_SCHEMAS, FULL, RULES
from tests.support.values import digests, json_values, references

SCHEMAS = Path(__file__).parents[2] / "policies" / "schemas"
ALICE, BOB = Someone(), Someone()

# Few letters, so that what follows a wildcard is found in many places.
_names = st.text("ab/", max_size=24)
_globs = st.lists(st.sampled_from(["a", "b", "ab", "/", "a/b", "*", "**"]), min_size=1, max_size=9).map("".join)


def plainly_matches(glob: str, name: str) -> bool:
    """What a glob means, by trying everything."""

    @cache
    def rest(g: int, n: int) -> bool:
        if g == len(glob):
            return n == len(name)
        if glob.startswith("**", g):
            return rest(g + 2, n) or (n < len(name) and rest(g, n + 1))
        if glob[g] == "*":
            return rest(g + 1, n) or (n < len(name) and name[n] != "/" and rest(g, n + 1))
        return n < len(name) and glob[g] == name[n] and rest(g + 1, n + 1)

    return rest(0, 0)


@given(_globs, _names)
@examples(1000)
def test_globs_mean_what_they_say(glob: str, name: str) -> None:
    assert Glob(glob).matches((name,)) == plainly_matches(glob, name)


@given(references(), digests())
def test_every_image_is_matched_by_its_own_name_and_by_everything(reference: Reference, digest: Digest) -> None:
    names = image_names(reference, digest)
    assert Glob("**").matches(names)
    if all(c.isalnum() or c in "_:/.@-" for c in reference.registry):
        assert Glob(f"**{reference.repository}@{digest}").matches(names)


@given(st.text("ab|()*+^$.", max_size=8), st.text("ab", max_size=6), st.text("ab", min_size=1, max_size=3))
def test_no_expression_matches_a_part_only(pattern: str, text: str, more: str) -> None:
    """Whatever matches as a whole is found as a part; what does not match is at most found."""
    try:
        regex = Regex(pattern)
    except UsageError:
        return
    if regex.matches(text):
        assert regex.occurs_in(text)
    if regex.matches(text + more):
        assert regex.occurs_in(text + more)
    if not regex.occurs_in(text):
        assert not regex.matches(text)


def valid_documents() -> list[dict[str, Any]]:
    return [FULL, model_policy(**RULES), deny_list(DIGEST)]


_VALUES: st.SearchStrategy[Any] = st.sampled_from(
    [None, "", "x", 0, 1.5, True, False, [], [""], ["x"], ["x", "x"], {}, {"x": 1}, {"name": "x"}, "deny", "warn"]
)
_KEYS = ("x", "name", "key", "keyless", "static", "url", "data", "kms", "Mode", "mode", "issuer", "scan", "values")


@st.composite
def mutated(draw: st.DrawFn) -> dict[str, Any]:
    """A valid document in which one place was replaced, removed, added or repeated."""
    document: dict[str, Any] = copy.deepcopy(draw(st.sampled_from(valid_documents())))
    place: Any = document
    while True:
        steps = list(place) if isinstance(place, dict) else list(range(len(place)))
        step = draw(st.sampled_from(steps)) if steps else None
        if step is not None and isinstance(place[step], dict | list) and place[step] and draw(st.integers(0, 4)):
            place = place[step]
            continue
        change = draw(st.sampled_from(["replace", "remove", "add", "repeat"]))
        if change == "add" and isinstance(place, dict):
            place[draw(st.sampled_from(_KEYS))] = draw(_VALUES)
        elif change == "repeat" and isinstance(place, list) and step is not None:
            place.append(copy.deepcopy(place[step]))
        elif step is not None and change == "remove":
            del place[step]
        elif step is not None:
            place[step] = draw(_VALUES)
        return document


def parser_takes(document: dict[str, Any]) -> str | None:
    """Why not; `None` if it does."""
    try:
        parse([("p.yaml", as_file(document))])
    except UsageError as e:
        return str(e)
    return None


@cache
def schemas() -> dict[str, Draft202012Validator]:
    loaded = [json.loads(path.read_text()) for path in SCHEMAS.glob("*.json")]
    return {schema["title"]: Draft202012Validator(schema) for schema in loaded}


@given(mutated())
@examples(400)
def test_schema_and_parser_agree(document: dict[str, Any]) -> None:
    kind = document.get("kind")
    validator = schemas().get(kind) if isinstance(kind, str) else None
    schema_takes = validator is not None and validator.is_valid(document)
    problem = parser_takes(document)
    if problem is None:
        assert schema_takes
    elif not any(beyond in problem for beyond in BEYOND_SCHEMAS):
        assert not schema_takes, problem


_policies = st.lists(
    st.sampled_from(
        [
            cluster_image_policy({"static": {"action": "pass"}}),
            cluster_image_policy({"static": {"action": "fail"}}),
            cluster_image_policy({"static": {"action": "fail"}}, mode="warn"),
            cluster_image_policy(ALICE.authority),
            cluster_image_policy(ALICE.authority, {**BOB.authority, "name": "b"}),
            cluster_image_policy(BOB.authority, images=[{"glob": "ghcr.io/**"}]),
            cluster_image_policy(BOB.authority, mode="warn"),
            model_policy(customCode="deny"),
            model_policy(scan=scan_rule(ALICE)),
            model_policy(scan=scan_rule(ALICE), mode="warn"),
        ]
    ),
    max_size=4,
).map(lambda found: [{**p, "metadata": {"name": f"p{i}"}} for i, p in enumerate(found)])
_evidence = st.lists(
    st.sampled_from([ALICE.signs(), BOB.signs(), ALICE.finds("clean"), ALICE.finds("malicious"), BOB.finds("clean")]),
    max_size=3,
).map(lambda pieces: together(*pieces))
_defaults: st.SearchStrategy[Default] = st.sampled_from(["deny", "allow"])


@given(_policies, _evidence, _defaults)
def test_a_revoked_image_is_never_allowed(policies: list[Any], evidence: Any, default: Default) -> None:
    assert not decide(*policies, deny_list(DIGEST), evidence=evidence, default=default).allowed


@given(_policies.filter(bool), _policies, _evidence)
def test_more_policies_never_allow_what_those_that_match_deny(first: list[Any], more: list[Any], evidence: Any) -> None:
    renamed = [{**p, "metadata": {"name": f"more{i}"}} for i, p in enumerate(more)]
    before = decide(*first, evidence=evidence)
    after = decide(*first, *renamed, evidence=evidence)
    if any(result.denies for result in before.policies):
        assert not after.allowed


@given(_policies.filter(bool), _evidence, _defaults, st.randoms())
def test_the_order_of_policies_and_evidence_decides_nothing(
    policies: list[Any], evidence: Any, default: Default, random: Any
) -> None:
    shuffled, bundles = list(policies), list(evidence.bundles)
    random.shuffle(shuffled)
    random.shuffle(bundles)
    before = decide(*policies, evidence=evidence, default=default)
    after = decide(*shuffled, evidence=type(evidence)(bundles=tuple(bundles)), default=default)
    assert before.allowed == after.allowed


@given(_policies.filter(bool), _evidence, _defaults)
def test_a_no_has_reasons_and_a_yes_has_none(policies: list[Any], evidence: Any, default: Default) -> None:
    decision = decide(*policies, evidence=evidence, default=default)
    assert decision.allowed == (decision.reasons == ())
    assert json.loads(json.dumps(decision.to_dict()))["allowed"] is decision.allowed


_PIECES = (
    "a: ", "- ", "\n", "  ", "[", "]", "{", "}", ",", "'", '"', "|", ">", "&a ", "*a", "!!str ", "! ", "---\n", "...\n",
    "%YAML 1.2\n", "? ", ": ", "# x", "~", "true", "1e99", "-", "\u2028", "\ufeff", "\x85", "\U0001f600", "<<: ",
)  # fmt: skip
_YAML = st.lists(st.sampled_from(_PIECES), max_size=30).map("".join)


@given(st.binary(max_size=60) | _YAML.map(str.encode))
@examples(1500)
def test_whatever_a_file_holds_is_read_or_refused_in_one_line(raw: bytes) -> None:
    try:
        json.dumps(parse_documents(raw, "f"), allow_nan=False)
    except UsageError as e:
        problem = str(e)
    else:
        problem = "f"
    assert "\n" not in problem
    assert problem.startswith("f")


@given(st.dictionaries(st.sampled_from(["verdict", "ruleSet", "scannedAt", "x"]), json_values, max_size=4))
def test_no_odd_verdict_is_clean(predicate: dict[str, Any]) -> None:
    odd = ALICE.states(SCAN_VERDICT, predicate)
    assert not decide(model_policy(scan=scan_rule(ALICE)), evidence=odd).allowed
    clean = together(odd, ALICE.finds("clean"))
    assert decide(model_policy(scan=scan_rule(ALICE)), evidence=clean).allowed is (
        predicate.get("verdict") != "malicious"
    )
