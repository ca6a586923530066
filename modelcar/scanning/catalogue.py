"""Every format that is known and every rule that can apply: the rule set. Whoever changes it looks at `version.py`.

It brings all parsers with it, so it is imported where the first file is scanned.
"""

from __future__ import annotations

from typing import Final

from modelcar.scanning import dispatch, image_rules, licenses, names, references, secrets
from modelcar.scanning.filescan import Format
from modelcar.scanning.findings import Rule
from modelcar.scanning.formats import (
    archives,
    codes,
    ggufs,
    graphs,
    jsons,
    natives,
    notebooks,
    onnx,
    packed,
    plaintexts,
    pointers,
    safetensors,
    sentencepieces,
    templates,
    tiktokens,
    unopened,
    yamls,
)
from modelcar.scanning.formats.hdf5 import scan as hdf5
from modelcar.scanning.formats.numpys import scan as numpys
from modelcar.scanning.formats.pickles import files as pickles
from modelcar.scanning.formats.pictures import scan as pictures
from modelcar.scanning.formats.tars import scan as tars
from modelcar.scanning.formats.zips import scan as zips
from modelcar.scanning.keras import objects as keras_objects
from modelcar.scanning.plugins import rules as plugin_rules

__all__ = ["FORMATS", "RULES"]

FORMATS: Final[tuple[Format, ...]] = (
    *safetensors.FORMATS,
    *ggufs.FORMATS,
    *zips.FORMATS,
    *hdf5.FORMATS,
    *pickles.FORMATS,
    *numpys.FORMATS,
    *plaintexts.FORMATS,
    *pointers.FORMATS,
    *jsons.FORMATS,
    *yamls.FORMATS,
    *templates.FORMATS,
    *tars.FORMATS,
    *codes.FORMATS,
    *notebooks.FORMATS,
    *natives.FORMATS,
    *packed.FORMATS,
    *unopened.FORMATS,
    *onnx.FORMATS,
    *sentencepieces.FORMATS,
    *tiktokens.FORMATS,
    *pictures.FORMATS,
    *graphs.FORMATS,
)
RULES: Final[tuple[Rule, ...]] = (
    *dispatch.RULES,
    *image_rules.RULES,
    *licenses.RULES,
    *names.RULES,
    *references.RULES,
    *keras_objects.RULES,
    *secrets.RULES,
    *plugin_rules.RULES,
    *safetensors.RULES,
    *ggufs.RULES,
    *archives.RULES,
    *zips.RULES,
    *hdf5.RULES,
    *pickles.RULES,
    *numpys.RULES,
    *plaintexts.RULES,
    *pointers.RULES,
    *jsons.RULES,
    *yamls.RULES,
    *templates.RULES,
    *tars.RULES,
    *codes.RULES,
    *notebooks.RULES,
    *natives.RULES,
    *unopened.RULES,
    *onnx.RULES,
    *sentencepieces.RULES,
    *tiktokens.RULES,
    *pictures.RULES,
    *graphs.RULES,
)
