"""What can be wrong with an image rather than with a file in it."""

from __future__ import annotations

from typing import Final

from modelcar.scanning.findings import Rule, Severity

__all__ = [
    "ANNOTATIONS",
    "CONFIG",
    "DISAGREES",
    "HEADERS_ONLY",
    "INDEX_UNREADABLE",
    "NO_MODEL",
    "OUTSIDE",
    "PATH_TWICE",
    "PRIVILEGED",
    "RULES",
    "RUNS",
    "TRUSTED",
    "UNKNOWN_ENTRY",
    "UNREADABLE",
    "WHITEOUT",
]

HEADERS_ONLY: Final = Rule(
    id="image.headers-only",
    severity=Severity.UNVERIFIED,
    title="only headers were read",
    why="A quick scan of a remote image can see that something is wrong, and never that all is well.",
    fix="Scan without --quick, which reads every byte.",
)
INDEX_UNREADABLE: Final = Rule(
    id="image.unreadable-index",
    severity=Severity.UNVERIFIED,
    title="the model index cannot be read",
    why="Nodes that pull lazily go by it.",
    fix="Have the image built anew.",
)
PATH_TWICE: Final = Rule(
    id="image.path-twice",
    severity=Severity.UNVERIFIED,
    title="two layers hold something of the same name",
    why="A container sees only the upper one; a tool that reads single layers may take the other.",
    fix="Have the image built anew, with every file once.",
)
UNKNOWN_ENTRY: Final = Rule(
    id="image.unknown-entry",
    severity=Severity.UNVERIFIED,
    title="an index lists something that is neither an image nor an artifact",
    why="Nobody knows who reads it.",
    fix="Have the image built anew without it.",
)
UNREADABLE: Final = Rule(
    id="image.unreadable-layer",
    severity=Severity.UNVERIFIED,
    title="a layer cannot be read with certainty",
    why="Where tools disagree about a layer, what was scanned is not what another one unpacks.",
    fix="Build the image anew, with modelcar or another tool that writes plain tar layers.",
)
OUTSIDE: Final = Rule(
    id="image.files-outside-model",
    severity=Severity.UNVERIFIED,
    title="files that are neither the model's nor our holder",
    why="They come from a base image or somebody's build; a scan of models does not judge programs.",
    fix="Use the default base, or scan the base with a scanner for images and name its layers: --trust-layer DIGEST.",
)
TRUSTED: Final = Rule(
    id="image.trusted-layer",
    severity=Severity.NOTE,
    title="a layer that was declared trusted was not scanned",
    why="Whoever ran the scan vouches for it.",
    fix="Nothing, if that is how it was meant.",
)
WHITEOUT: Final = Rule(
    id="image.whiteout",
    severity=Severity.UNVERIFIED,
    title="a layer deletes files of the layers below it",
    why="What a container sees then differs from what the layers hold.",
    fix="Build the image anew without files that are deleted later.",
)
DISAGREES: Final = Rule(
    id="image.index-disagrees",
    severity=Severity.UNVERIFIED,
    title="the model index says something else than the layer holds",
    why="Nodes that pull lazily read by the index, others the layer: they would see two different models.",
    fix="Do not use the image; have it built anew.",
)
PRIVILEGED: Final = Rule(
    id="image.privileged-file",
    severity=Severity.UNVERIFIED,
    title="a file has rights or attributes that no model needs",
    why="Engines obey them: a program runs as another user, a folder hides what lies below it.",
    fix="Build the image anew from plain files.",
)
CONFIG: Final = Rule(
    id="image.config-disagrees",
    severity=Severity.UNVERIFIED,
    title="the image's configuration names other layers than its manifest",
    why="Engines find what they have unpacked before by what the configuration says: a container may see files of "
    "another image.",
    fix="Do not use the image; have it built anew.",
)
RUNS: Final = Rule(
    id="image.runs-program",
    severity=Severity.UNVERIFIED,
    title="the image starts a program, or sets variables for one",
    why="A model image starts our holder or nothing; a scan of models does not judge other commands.",
    fix="Use the default base, or vouch for the configuration once you have read it: --trust-layer DIGEST.",
)
ANNOTATIONS: Final = Rule(
    id="image.annotations-disagree",
    severity=Severity.UNVERIFIED,
    title="annotations of the layers make tools see different models",
    why="Tools that go by annotations leave files out, or read by another index, that containers and scanners see.",
    fix="Do not use the image; have it built anew.",
)
NO_MODEL: Final = Rule(
    id="image.no-model",
    severity=Severity.UNVERIFIED,
    title="nothing in it is a file of a model",
    why="Where nothing was looked at, nothing is known.",
    fix="Scan the image that holds the model; its files lie under /models.",
)
RULES: Final = (
    ANNOTATIONS,
    CONFIG,
    NO_MODEL,
    PRIVILEGED,
    RUNS,
    HEADERS_ONLY,
    INDEX_UNREADABLE,
    PATH_TWICE,
    UNKNOWN_ENTRY,
    UNREADABLE,
    OUTSIDE,
    TRUSTED,
    WHITEOUT,
    DISAGREES,
)
