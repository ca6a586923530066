"""What can be wrong with a pickle."""

from __future__ import annotations

from typing import Final

from modelcar.scanning.findings import Rule, Severity

_CONVERT: Final = "Ask the author for safetensors, or convert the file in an isolated machine."
_REFUSE: Final = "Do not load it. Report it to whoever publishes it."

DANGEROUS: Final = Rule(
    id="pickle.dangerous-global",
    severity=Severity.MALICIOUS,
    title="loading it runs a function that can do anything",
    why="No model needs to start programs, run code, or reach files and the network in order to be loaded.",
    fix=_REFUSE,
)
PATCHES: Final = Rule(
    id="pickle.patches-global",
    severity=Severity.MALICIOUS,
    title="loading it changes something that it did not make",
    why="Whoever changes a module, a class or a function decides what the program does from then on.",
    fix=_REFUSE,
)
REACHES: Final = Rule(
    id="pickle.reaches-through",
    severity=Severity.MALICIOUS,
    title="loading it looks up a function by attributes, and calls it",
    why="A function that is not named but looked up can be any function, and is hidden from scanners for a reason.",
    fix=_REFUSE,
)
UNKNOWN: Final = Rule(
    id="pickle.unknown-global",
    severity=Severity.UNVERIFIED,
    title="loading it runs code that is not known to be harmless",
    why="A pickle can call anything that is installed; only what rebuilds tensors and plain values is known.",
    fix=_CONVERT,
)
CODE: Final = Rule(
    id="pickle.embedded-code",
    severity=Severity.UNVERIFIED,
    title="it carries code of its own",
    why="Functions that were pickled by value are code like any other, and nobody can say what it does.",
    fix="Use it only if you trust its author as you would trust a program of theirs.",
)
HIDDEN: Final = Rule(
    id="pickle.hidden-global",
    severity=Severity.MALICIOUS,
    title="it computes the name of what it imports",
    why="No program that writes pickles does so; it hides from scanners what will be loaded.",
    fix=_REFUSE,
)
INDIRECT: Final = Rule(
    id="pickle.indirect-call",
    severity=Severity.UNVERIFIED,
    title="it calls, or changes, what another call returned",
    why="What that does depends on code that the file does not name.",
    fix=_CONVERT,
)
UNUSUAL_CALL: Final = Rule(
    id="pickle.unusual-call",
    severity=Severity.UNVERIFIED,
    title="it calls a harmless function in an unusual way",
    why="The function is known to be safe with the arguments that programs give it, not with these.",
    fix=_CONVERT,
)
UNUSUAL_STATE: Final = Rule(
    id="pickle.unusual-state",
    severity=Severity.UNVERIFIED,
    title="it restores an object from an unusual state",
    why="Such a state can break the object from inside, and the program that uses it later.",
    fix=_CONVERT,
)
EXTENSION: Final = Rule(
    id="pickle.extension-registry",
    severity=Severity.UNVERIFIED,
    title="it imports something by a number",
    why="What the number means is registered in the program that loads the file; it can be anything.",
    fix=_CONVERT,
)
OUT_OF_BAND: Final = Rule(
    id="pickle.out-of-band",
    severity=Severity.UNVERIFIED,
    title="it wants data from outside the file",
    why="Only the program that wrote it has those buffers; what they hold was not looked at.",
    fix=_CONVERT,
)
PERSISTENT: Final = Rule(
    id="pickle.persistent-id",
    severity=Severity.UNVERIFIED,
    title="it names an object that lies elsewhere",
    why="What the program that loads the file makes of that name is not known.",
    fix=_CONVERT,
)
NOT_CANONICAL: Final = Rule(
    id="pickle.not-canonical",
    severity=Severity.UNVERIFIED,
    title="no program writes a pickle like this",
    why="Unpicklers disagree about what such a stream means, and attacks hide where they disagree.",
    fix="Have the file saved anew by the library that made it.",
)
EXHAUSTS: Final = Rule(
    id="pickle.exhausts",
    severity=Severity.UNVERIFIED,
    title="using it takes more time or memory than its size suggests",
    why="A small file can make a program hang or run out of memory.",
    fix="Have the file saved anew; if it is like that by design, do not use it.",
)
NEEDS_JOBLIB: Final = Rule(
    id="pickle.needs-joblib",
    severity=Severity.UNVERIFIED,
    title="only joblib can load it",
    why="Arrays lie between the opcodes, which another unpickler would take for opcodes.",
    fix=_CONVERT,
)
STORAGE: Final = Rule(
    id="torch.storage-mismatch",
    severity=Severity.UNVERIFIED,
    title="a storage is not what its pickle says",
    why="Bytes that are no tensor's are there for something else, and programs disagree about which are a tensor's.",
    fix="Have the file saved anew with torch.save.",
)
RULES: Final = (
    DANGEROUS,
    PATCHES,
    REACHES,
    UNKNOWN,
    CODE,
    HIDDEN,
    INDIRECT,
    UNUSUAL_CALL,
    UNUSUAL_STATE,
    EXTENSION,
    OUT_OF_BAND,
    PERSISTENT,
    NOT_CANONICAL,
    EXHAUSTS,
    NEEDS_JOBLIB,
    STORAGE,
)
