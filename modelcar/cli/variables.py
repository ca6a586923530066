"""The environment variables that modelcar reads, for its reference page; a test compares them with the code."""

from __future__ import annotations

from typing import Final

__all__ = ["OTHERS", "OURS", "variables_page"]

# Variables that are ours alone; a name that ends with `*` is the beginning of several.
OURS: Final = {
    "MODELCAR_HOME": "The folder of the local store; else `home` of the configuration, else `$XDG_DATA_HOME/modelcar`,"
    " else `~/.local/share/modelcar`.",
    "MODELCAR_CONFIG": "The only configuration file to read; empty: none.",
    "MODELCAR_OBJECTS_CACHE": "Where objects of `s3://`, `gs://` and `az://` sources are kept; else"
    " `$XDG_CACHE_HOME/modelcar/objects`, else `~/.cache/modelcar/objects`.",
    "MODELCAR_DEBUG": "If set, a defect shows where it is in the code.",
    "MODELCAR_CLAMD": "Where clamd listens: a socket's path, or HOST:PORT.",
    "MODELCAR_SCANNER_*": "Settings that other scanners are given; nothing else of the environment that is a secret.",
    "REGISTRY_SHIM_ROOT": "The folder of the shim that `registry-shim` commands ask: `--root`.",
}
# What other programs, systems and standards have set or named.
OTHERS: Final = {
    "COSIGN_PASSWORD": "The password of a signing key.",
    "SIGSTORE_ID_TOKEN": "The identity token to sign with, keyless.",
    "DOCKER_CONFIG": "The folder of Docker's `config.json`, with logins.",
    "REGISTRY_AUTH_FILE": "The only file with logins to look at, as podman and skopeo know it.",
    "DOCKER_HOST": "Where Docker's daemon listens, for `modelcar load`.",
    "DOCKER_CONTEXT": "Docker's context, for `modelcar load`.",
    "CONTAINER_HOST": "Where podman's service listens, for `modelcar load`.",
    "AWS_PROFILE": "The profile for `s3://`; Amazon's other variables are read by the library that reads S3.",
    "AZURE_STORAGE_ACCOUNT_NAME": "The account for `az://`; likewise.",
    "HF_HUB_DISABLE_TELEMETRY": "Set, unless somebody set it: the Hub is told nothing. The Hub's own library reads"
    " `HF_TOKEN`, `HF_ENDPOINT`, `HF_HOME` and others.",
    "HF_HUB_VERBOSITY": "Set to `error`, unless somebody set it: the Hub's library would log addresses with the"
    " passwords in them.",
    "KUBECONFIG": "Files that say how clusters are reached.",
    "KUBERNETES_SERVICE_HOST": "In a pod: its cluster's API server.",
    "KUBERNETES_SERVICE_PORT": "Likewise.",
    "NODE_NAME": "The node's name: `registry-shim node --node-name`.",
    "GITHUB_ACTIONS": "In a job of GitHub: provenance takes what the job's variables say.",
    "GITLAB_CI": "Likewise of GitLab.",
    "NOTIFY_SOCKET": "systemd: the shim says when it is ready.",
    "WATCHDOG_USEC": "systemd: how often the shim says that it is well.",
    "NO_COLOR": "If it is not empty: no colours and no bold letters, even on a terminal.",
    "CLICOLOR_FORCE": "If it is not empty and not 0: both, even where there is no terminal.",
    "TERM": "`dumb`: as `NO_COLOR`.",
    "HOME": "The user's folder.",
    "XDG_CACHE_HOME": "Where caches lie.",
    "XDG_CONFIG_HOME": "Where configurations lie; ours is `modelcar/config.yaml` in it.",
    "XDG_DATA_HOME": "Where data lie.",
    "XDG_RUNTIME_DIR": "Where sockets and podman's logins lie.",
}


def variables_page() -> str:
    """Both lists as Markdown."""
    parts = ["## Environment variables\n", "Ours:\n", *_table(OURS), "\nOthers', which we read too:\n", *_table(OTHERS)]
    last = (
        "\nProxies (`HTTPS_PROXY`, `HTTP_PROXY`, `NO_PROXY`), `TMPDIR` and the locale (`LANG`, `LC_ALL`) mean what they"
        " always mean. A key `env://NAME` is read from the variable NAME.\n"
    )
    return "\n".join([*parts, last])


def _table(variables: dict[str, str]) -> list[str]:
    return ["| variable | |", "|---|---|", *(f"| `{name}` | {text} |" for name, text in variables.items())]
