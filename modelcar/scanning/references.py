"""What configurations say that makes a program run code, by the shape of what they say and not by a file's name."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from modelcar.scanning.callables import is_dangerous, is_dotted
from modelcar.scanning.findings import Rule, Severity, shown
from modelcar.scanning.keras.objects import objects_in

__all__ = ["KEYS", "RULES", "expressions_in", "logging_in", "references_in"]

CODE: Final = Rule(
    id="config.custom-code",
    severity=Severity.UNVERIFIED,
    title="a configuration that loads Python code of the checkpoint",
    why="With trust_remote_code the named files run with all rights of the program that loads the model.",
    fix="Read the code, or use a model whose class is part of the library.",
)
REMOTE: Final = Rule(
    id="config.remote-code",
    severity=Severity.UNVERIFIED,
    title="a configuration that loads code from another repository",
    why="That code is not in this checkpoint, can change any day, and no scan or signature of this model covers it.",
    fix="Copy the code into the checkpoint at a commit that you have read, or use another model.",
)
TARGET: Final = Rule(
    id="config.call-target",
    severity=Severity.UNVERIFIED,
    title="a configuration that names a Python object to be called",
    why="Programs that follow such names (Hydra, NeMo, jsonpickle) call whatever they are given.",
    fix="See that every name belongs to a library that you trust, and load it only with a program that checks them.",
)
DANGEROUS: Final = Rule(
    id="config.dangerous-call",
    severity=Severity.MALICIOUS,
    title="a configuration that has a program run commands or code",
    why="No model needs this name in its configuration; a program that follows it does what the author wants.",
    fix="Do not load this model with any program; report it to where it came from.",
)
TRUST: Final = Rule(
    id="config.trusts-code",
    severity=Severity.UNVERIFIED,
    title="a configuration that gives itself leave to run code",
    why="Such a setting is for who loads a model to decide; in the model itself it decides for them.",
    fix="Remove the setting from the file.",
)
RULES: Final = (CODE, REMOTE, TARGET, DANGEROUS, TRUST)

_MOST_STEPS: Final = 10_000  # through one value
Found = Iterator[tuple[Rule, str]]
_TARGET_KEYS: Final = (
    "_target_", "__target__", "()", "py/object", "py/type", "py/function", "py/class", "py/reduce", "py/repr",
)  # fmt: skip
# Keys of everyday words, which name an object to be called where they stand beside one of these: latent diffusion and
# NeMo (target), pyannote (name), Haystack (type), Lightning (class_path), GluonTS (class), skops (__module__).
_BESIDE: Final = {
    "target": ("params", "target"),
    "name": ("params",),
    "type": ("init_parameters",),
    "class_path": ("class_path",),
    "class": ("__kind__",),
    "__module__": ("__loader__",),
}
# A member's value that calls something, or an import in a list; tokens of a vocabulary are neither.
_EXPRESSION: Final = re.compile(
    rb"""(?m)(?::\s{0,40}(?:"(?:\$|\\u0024)(?=(?:[^"\n\\]|\\[^\n]){0,300}[\w\])]\(|import[ ]|from[ ])"""
    rb"""|'?\$(?=[^\n]{0,300}[\w\])]\(|import[ ]|from[ ]))"""
    rb"""|(?:[\[,]\s{0,40}["']|^[ \t]{0,40}-[ \t]{1,40}["']?)(?:\$|\\u0024)(?=import[ ]|from[ ]))([^\n]{1,200})"""
)
_LOGGING: Final = re.compile(rb"(?m)^[ \t]{0,8}\[(?:handler|formatter)_[^\]\n]{1,100}\]")
_HARMFUL: Final = re.compile(rb"__import__|\b(?:os|subprocess|builtins|socket|shutil|pty)\.|\b(?:exec|eval|open)\(")
_ACTIVATIONS: Final = (
    "activation_fct", "activation_fn", "activation_function", "default_activation_function",
    "sbert_ce_default_activation_function",
)  # fmt: skip
_LIBRARIES: Final = ("transformers", "diffusers", "torch", "sentence_transformers", "peft", "timm", "megatron")
# modules of diffusers that its own pipelines name in model_index.json
_PIPELINES: Final = frozenset(
    {
        "README.md", "ace_step", "allegro", "alt_diffusion", "amused", "animatediff", "anyflow", "audio_diffusion",
        "audioldm", "audioldm2", "aura_flow", "blip_diffusion", "bria", "bria_fibo", "chroma", "chronoedit",
        "cogvideo", "cogview3", "cogview4", "consisid", "consistency_models", "controlnet", "controlnet_hunyuandit",
        "controlnet_sd3", "controlnet_xs", "cosmos", "dance_diffusion", "ddim", "ddpm", "deepfloyd_if",
        "diffusion_gemma", "dit", "dreamlite", "easyanimate", "ernie_image", "flux", "flux2", "glm_image", "helios",
        "hidream_image", "hunyuan_image", "hunyuan_video", "hunyuan_video1_5", "hunyuandit", "i2vgen_xl", "ideogram4",
        "joyimage", "kandinsky", "kandinsky2_2", "kandinsky3", "kandinsky5", "kolors", "krea2",
        "latent_consistency_models", "latent_diffusion", "latent_diffusion_uncond", "latte", "ledits_pp", "llada2",
        "longcat_audio_dit", "longcat_image", "ltx", "ltx2", "lucy", "lumina", "lumina2", "marigold", "mochi",
        "motif_video", "musicldm", "nucleusmoe_image", "omnigen", "ovis_image", "pag", "paint_by_example", "pia",
        "pixart_alpha", "pndm", "prx", "qwenimage", "repaint", "sana", "sana_video", "score_sde_ve",
        "semantic_stable_diffusion", "shap_e", "skyreels_v2", "spectrogram_diffusion", "stable_audio",
        "stable_audio_3", "stable_cascade", "stable_diffusion", "stable_diffusion_3",
        "stable_diffusion_attend_and_excite", "stable_diffusion_diffedit", "stable_diffusion_gligen",
        "stable_diffusion_k_diffusion", "stable_diffusion_ldm3d", "stable_diffusion_panorama",
        "stable_diffusion_safe", "stable_diffusion_sag", "stable_diffusion_variants", "stable_diffusion_xl",
        "stable_video_diffusion", "stochastic_karras_ve", "t2i_adapter", "text_to_video_synthesis", "unclip",
        "unidiffuser", "versatile_diffusion", "visualcloze", "vq_diffusion", "wan", "wuerstchen", "z_image",
    }
)  # fmt: skip
_KEYS_ALWAYS: Final = (
    "auto_map", "custom_pipelines", "auto_mapping", "trust_remote_code", "megatron_core", "_attn_implementation",
    "attn_implementation", "type", "class_name", "_class_name", "params", "target", "class_path", "__kind__",
    "__loader__", "structure",
)  # fmt: skip
KEYS: Final = frozenset({*_KEYS_ALWAYS, *_TARGET_KEYS, *_ACTIVATIONS})


def references_in(members: Mapping[str, Any]) -> Found:
    """What one object of a document refers to: rules that apply, and what exactly is there."""
    yield from _auto_map(members)
    yield from _pipelines(members)
    yield from _targets(members)
    yield from _libraries(members)
    yield from _sentence_transformers(members)
    yield from objects_in(members)
    yield from _model_index(members)
    if members.get("trust_remote_code") is True:
        yield TRUST, ""


def expressions_in(data: bytes) -> Found:
    """Texts of a JSON or YAML document that MONAI evaluates as Python: they begin with a dollar sign."""
    found = set(_EXPRESSION.findall(data))
    for expression in sorted(found)[:20]:
        yield DANGEROUS if _HARMFUL.search(expression) else TARGET, shown(expression.decode(errors="replace"))


def logging_in(data: bytes) -> Found:
    """What `logging.config.fileConfig` evaluates as Python in a text: MONAI hands it the `logging.conf` of a bundle."""
    if _LOGGING.search(data):
        harmful = _HARMFUL.search(data)
        yield (DANGEROUS, shown(harmful[0].decode())) if harmful else (TARGET, "handlers of Python's logging")


def _auto_map(members: Mapping[str, Any]) -> Found:
    mapping = members.get("auto_map")
    names = list(_texts(mapping))
    yield from map(_named_code, names)
    if mapping and isinstance(mapping, list | dict) and not names:
        yield CODE, "auto_map, in a form of its own"


def _named_code(name: str) -> tuple[Rule, str]:
    repository, remote, reference = name.rpartition("--")
    if remote:
        return REMOTE, f"{shown(reference)} of {shown(repository)}"
    module = name.rpartition(".")[0].replace(".", "/")
    return CODE, f"{shown(name)} in {shown(module + '.py')}" if module else shown(name)


def _pipelines(members: Mapping[str, Any]) -> Found:
    pipelines = members.get("custom_pipelines")
    for pipeline in pipelines.values() if isinstance(pipelines, dict) else ():
        name = pipeline.get("impl") if isinstance(pipeline, dict) else None
        yield _named_code(name) if isinstance(name, str) else (CODE, "custom_pipelines")


def _targets(members: Mapping[str, Any]) -> Found:
    for key in _TARGET_KEYS:
        for name in _texts(members.get(key)):
            if name:
                yield DANGEROUS if is_dangerous(name) else TARGET, shown(name)
    for key, others in _BESIDE.items():
        value = members.get(key)
        if isinstance(value, str) and any(other in members for other in others):
            name = f"{value}.{members.get('__class__')}" if key == "__module__" else value
            if is_dangerous(name):
                yield DANGEROUS, shown(name)
            elif is_dotted(name):
                yield TARGET, shown(name)


def _libraries(members: Mapping[str, Any]) -> Found:
    mapping = members.get("auto_mapping")
    parent = mapping.get("parent_library") if isinstance(mapping, dict) else None
    if isinstance(parent, str) and not _belongs(parent, ("transformers", "diffusers", "torch", "timm")):
        yield CODE, f"auto_mapping: {shown(parent)}"
    core = members.get("megatron_core")
    if isinstance(core, str) and not _belongs(core, ("megatron",)):
        yield TARGET, f"megatron_core: {shown(core)}"
    for key in ("_attn_implementation", "attn_implementation"):
        for name in _texts(members.get(key)):
            if "/" in name:
                yield REMOTE, f"{key}: {shown(name)}, a compiled kernel"


def _sentence_transformers(members: Mapping[str, Any]) -> Found:
    """Classes in `modules.json`, and functions that are called on what comes out."""
    names: list[str] = []
    if "idx" in members and "path" in members and isinstance(members.get("type"), str):
        names.append(members["type"])
    if "structure" in members and isinstance(members.get("types"), dict):
        names += _texts(members["types"])  # of a router
    names += [members[key] for key in _ACTIVATIONS if isinstance(members.get(key), str) and "." in members[key]]
    for name in names:
        if is_dangerous(name):
            yield DANGEROUS, shown(name)
        elif "--" in name:
            yield REMOTE, shown(name)
        elif not _belongs(name, ("sentence_transformers", "torch.nn", "transformers.activations")):
            yield CODE, shown(name)


def _model_index(members: Mapping[str, Any]) -> Found:
    """diffusers: a list names a module of the checkpoint, or of a library, and a class in it."""
    if isinstance(members.get("_class_name"), list):
        yield CODE, "_class_name: " + ", ".join(shown(name) for name in _texts(members["_class_name"]))
    pipeline = str(members.get("_class_name", ""))
    if not pipeline or ("_diffusers_version" not in members and "Pipeline" not in pipeline):
        return
    for component, value in members.items():
        if not component.startswith("_") and isinstance(value, list) and len(value) == 2 and isinstance(value[0], str):
            library = value[0]
            if is_dangerous(f"{library}.{value[1]}"):
                yield DANGEROUS, f"{shown(component)}: {shown(library)}"
            elif not _belongs(library, (*_LIBRARIES, "onnxruntime", "optimum")) and library not in _PIPELINES:
                yield CODE, f"{shown(component)}: {shown(library)}"


def _belongs(name: str, packages: tuple[str, ...]) -> bool:
    """Whether `name` is one of the packages, or something in one that is no module they happen to import."""
    inside = any(name == package or name.startswith(f"{package}.") for package in packages)
    return inside and not is_dangerous(name) and (name in packages or is_dotted(name))


def _texts(value: Any) -> Iterator[str]:
    """All texts in a value that is one, or in lists and objects of them, three deep."""
    waiting, steps = [(value, 0)], 0
    while waiting and (steps := steps + 1) < _MOST_STEPS:
        each, depth = waiting.pop()
        if isinstance(each, str):
            yield each
        elif isinstance(each, list | dict) and depth < 3:
            inside = each.values() if isinstance(each, dict) else each
            waiting.extend((part, depth + 1) for part in list(inside)[:1000][::-1])
