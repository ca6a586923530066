"""The rules of direction between packages, and the sizes that keep code readable."""

from __future__ import annotations

import ast
import gc
import re
import sys
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = sorted([*ROOT.glob("modelcar/**/*.py"), *ROOT.glob("registry_shim/**/*.py")])
TESTS = sorted(ROOT.glob("tests/**/*.py"))

# From the bottom up: a package sees those before it, and those of the base, which see nothing but each other.
LAYERS = [
    "oci",
    "testing",
    "holder",
    "checkpoint",
    "layers",
    "ranks",
    "store",
    "registry",
    "serving",
    "lazy",
    "cache",
    "packaging",
    "signing",
    "scanning",
    "conversion",
    "images",
    "engines",
    "loading",
    "mounts",
    "doctor",
    "admission",
    "cluster",
    "cli",
]
BASE = {
    "backoff",
    "descriptors",
    "disk",
    "errors",
    "exchanges",
    "files",
    "programs",
    "progress",
    "renewed",
    "throttle",
    "tls",
    "units",
}
# Where a third-party package may be imported. What is not here may not be imported at all.
THIRD_PARTY = {
    "urllib3": ("modelcar/registry/",),
    "aiohttp": ("modelcar/serving/", "modelcar/cluster/controller/session.py"),  # which kopf speaks with
    "bcrypt": ("modelcar/serving/",),
    "prometheus_client": ("registry_shim/operations/", "modelcar/admission/server/"),
    "opentelemetry": ("registry_shim/operations/tracing.py",),
    "kopf": ("modelcar/cluster/controller/",),
    "docker": ("modelcar/engines/api.py",),
    "requests": ("modelcar/engines/api.py",),  # which docker speaks with
    "h2": ("registry_shim/engines/cri.py", "registry_shim/snapshotter/grpc.py"),
    "backports": ("modelcar/admission/resolve/tars.py",),
    "compression": ("modelcar/admission/resolve/tars.py",),  # the standard library's, from Python 3.14
    "click": ("modelcar/cli/", "registry_shim/cli/"),
    "rich": ("modelcar/cli/", "registry_shim/cli/"),
    "huggingface_hub": ("modelcar/checkpoint/",),
    "httpx": ("modelcar/checkpoint/",),
    "obstore": ("modelcar/checkpoint/objects/",),
    "jinja2": ("modelcar/cli/pages/", "modelcar/scanning/templates/"),
    "ruamel": ("modelcar/admission/files/",),
    "yaml": (
        "modelcar/admission/files/",
        "modelcar/checkpoint/",
        "modelcar/cluster/",
        "modelcar/scanning/formats/yamls.py",
        "modelcar/serving/config/",
        "modelcar/signing/policy/",
    ),
    "cryptography": ("modelcar/signing/keys/", "modelcar/signing/keyless/", "modelcar/admission/server/"),
    "numpy": ("modelcar/loading/",),
    "torch": ("modelcar/loading/",),
    "nacl": ("modelcar/signing/keys/",),
    "re2": ("modelcar/signing/regexes.py",),
    "sigstore": ("modelcar/signing/keyless/",),
    "fickling": ("modelcar/scanning/plugins/fickling.py",),
    "modelscan": ("modelcar/scanning/plugins/modelscan.py",),
    "picklescan": ("modelcar/scanning/plugins/picklescan.py",),
}

# From the bottom up, as above; all of it sees `modelcar`. A name is a package's or a module's.
SHIM = [
    "testing",
    "protobuf",
    "folder",
    "distribution",
    "cluster",
    "engines",
    "mirror",
    "peers",
    "space",
    "gate",
    "mounts",
    "precache",
    "operations",
    "snapshotter",
    "node",
    "server",
    "cli",
]
# What speaks HTTP, one module a side and a kind: registries and API servers, a shim's own socket, containerd's CRI; the
# registry that misbehaves. Everything else goes through them.
SPEAKERS = {
    "http.client": {
        "modelcar/checkpoint/ranges.py",
        "modelcar/registry/transport.py",
        "modelcar/testing/registry/running.py",
        "registry_shim/engines/asking.py",
        "registry_shim/operations/admin/client.py",
    },
    "http.server": {"modelcar/testing/registry/control.py", "modelcar/testing/registry/server.py"},
    "urllib.request": {"modelcar/checkpoint/ranges.py", "modelcar/registry/transport.py"},
    "urllib.error": set(),
    "ftplib": set(),
    "smtplib": set(),
}

# Folders of tests/unit that are no package's: what the tests themselves and the releases go by.
BESIDE = {"bench": "tests/bench", "corpus": "tests/corpus", "fuzz": "tests/fuzz", "scripts": "scripts"}

# The command lines: what may use `modelcar.cli`.
COMMANDS = ("modelcar/cli/", "modelcar/__main__.py", "registry_shim/cli/")


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def statements_of(node: ast.AST) -> Iterator[ast.AST]:
    """What stands directly in a module, a class, a function, or one branch of a statement."""
    for part in ("body", "handlers", "cases", "orelse", "finalbody"):
        yield from getattr(node, part, ())


@cache
def statements(path: Path) -> tuple[ast.AST, ...]:
    """All of a file, however deep. Imports and functions are statements; expressions are ten times as many nodes."""
    found: list[ast.AST] = [*statements_of(tree(path))]
    for node in found:
        found.extend(statements_of(node))
    return tuple(found)


@pytest.fixture(scope="module", autouse=True)
def _trees_do_not_outlive_their_tests() -> Iterator[None]:
    """They are some hundred megabytes without a circle; each garbage collection would go through all of them."""
    gc.disable()
    yield
    tree.cache_clear()
    statements.cache_clear()
    gc.enable()


@cache
def modules_imported(path: Path) -> tuple[str, ...]:
    modules = []
    for node in statements(path):
        if isinstance(node, ast.Import):
            modules += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            modules += [node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)]
    return tuple(modules)


def package_of(module: str) -> str | None:
    parts = module.split(".")
    return parts[1] if parts[0] == "modelcar" and len(parts) > 1 else None


def module_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def imports_of(node: ast.AST, *, heads: bool) -> Iterator[tuple[str, str]]:
    """Of a module, as (from where, what): with `heads` outside of its functions, else whatever is ever imported."""
    for child in statements_of(node):
        is_function = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef)
        is_for_types = isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING"
        if isinstance(child, ast.Import):
            yield from ((alias.name, "") for alias in child.names)
        elif isinstance(child, ast.ImportFrom):
            yield from ((child.module or "", alias.name) for alias in child.names)
        elif not (is_function if heads else is_for_types):
            yield from imports_of(child, heads=heads)


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def test_packages_see_only_what_lies_below_them() -> None:
    for path in SOURCES:
        parts = path.relative_to(ROOT).parts
        if parts[0] != "modelcar" or len(parts) == 2:
            continue
        assert parts[1] in LAYERS, f"{parts[1]} has no place in the order of packages"
        allowed = BASE | set(LAYERS[: LAYERS.index(parts[1]) + 1])
        for module in modules_imported(path):
            package = package_of(module)
            if package in LAYERS or package in BASE:
                assert package in allowed, f"{name(path)} imports {module}"


def test_the_root_of_the_package_holds_the_base_and_nothing_else() -> None:
    modules = {path.stem for path in ROOT.glob("modelcar/*.py")} - {"__init__", "__main__"}
    assert modules == BASE
    for path in ROOT.glob("modelcar/*.py"):
        if path.stem in BASE:
            seen = {package_of(module) for module in modules_imported(path)} - {None}
            assert seen <= BASE, f"{name(path)} imports {seen - BASE}"


def test_the_facade_is_for_users_and_not_for_the_packages_behind_it() -> None:
    for path in SOURCES:
        if name(path) == "modelcar/__init__.py":
            continue
        for node in statements(path):
            if isinstance(node, ast.ImportFrom) and node.module == "modelcar":
                known = {"__version__", *LAYERS, *BASE}
                assert {alias.name for alias in node.names} <= known, f"{name(path)}:{node.lineno}"
            if isinstance(node, ast.Import):
                assert "modelcar" not in {alias.name for alias in node.names}, f"{name(path)}:{node.lineno}"


def test_packages_of_the_shim_see_only_what_lies_below_them() -> None:
    for path in SOURCES:
        parts = path.relative_to(ROOT).with_suffix("").parts
        if parts[0] != "registry_shim" or parts[1] in ("__init__", "__main__", "testing"):
            continue
        assert parts[1] in SHIM, f"{parts[1]} has no place in the order of the shim's packages"
        allowed = SHIM[: SHIM.index(parts[1]) + 1]
        for module in modules_imported(path):
            imported = module.split(".")
            if imported[0] == "registry_shim" and len(imported) > 1:
                assert imported[1] in allowed, f"{name(path)} imports {module}"


@pytest.mark.parametrize("heads", [True, False], ids=["with their types", "with what functions import"])
def test_no_module_needs_itself(heads: bool) -> None:
    """Neither what the heads of files name, types included, nor what is imported while they run comes to a circle."""
    known = {module_of(path): path for path in SOURCES}
    graph: dict[str, set[str]] = {}
    for module, path in known.items():
        if path == ROOT / "modelcar/__init__.py":
            continue
        graph[module] = set()
        for source, what in imports_of(tree(path), heads=heads):
            imported = f"{source}.{what}" if f"{source}.{what}" in known else source
            if imported in known and imported not in ("modelcar", module):
                graph[module].add(imported)
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as e:
        pytest.fail(f"a circle of imports: {' <- '.join(e.args[1])}")


@pytest.mark.parametrize("library", SPEAKERS)
def test_only_transports_speak_over_the_network(library: str) -> None:
    users = {name(path) for path in SOURCES if library in modules_imported(path)}
    assert users <= SPEAKERS[library], f"{library} is imported in {users - SPEAKERS[library]}"


def test_values_need_only_the_standard_library() -> None:
    values = [*ROOT.glob("modelcar/oci/*.py"), *(ROOT / "modelcar" / f"{base}.py" for base in BASE)]
    for path in values:
        for module in modules_imported(path):
            top = module.split(".")[0]
            assert top in sys.stdlib_module_names or top == "modelcar", f"{name(path)} imports {module}"


def test_the_library_does_not_know_the_shim_and_nothing_knows_the_command_line() -> None:
    for path in SOURCES:
        inside_library = name(path).startswith("modelcar/")
        for module in modules_imported(path):
            assert not (inside_library and module.startswith("registry_shim")), f"{name(path)} imports {module}"
            is_command = name(path).startswith(COMMANDS)
            assert is_command or not module.startswith("modelcar.cli"), f"{name(path)} imports {module}"


def test_third_party_packages_stay_where_they_belong() -> None:
    for path in SOURCES:
        for module in modules_imported(path):
            top = module.split(".")[0]
            if top not in sys.stdlib_module_names and top not in ("modelcar", "registry_shim"):
                assert name(path).startswith(THIRD_PARTY.get(top, ())), f"{name(path)} imports {top}"


@pytest.mark.parametrize("http", ["urllib3", "aiohttp"])
def test_one_module_a_side_speaks_http(http: str) -> None:
    others = {"modelcar/cluster/controller/session.py"}  # hands kopf a client of the library that it has anyway
    users = [name(p) for p in SOURCES if any(m.split(".")[0] == http for m in modules_imported(p))]
    assert len({*users} - others) == 1, f"{http} is imported in {users}"


def test_files_and_functions_stay_readable() -> None:
    for path in [*SOURCES, *TESTS]:
        assert path.read_text().count("\n") <= 500, f"{name(path)} has outgrown 500 lines"
        for node in statements(path):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or 0) - node.lineno + 1
                assert lines <= 80, f"{name(path)}:{node.lineno} {node.name} has {lines} lines"


def test_only_the_command_line_prints_or_exits() -> None:
    for path in SOURCES:
        if "/cli" in name(path) or path.name == "__main__.py":
            continue
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                assert node.func.id not in ("print", "input", "exit"), f"{name(path)}:{node.lineno} {node.func.id}()"
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                assert (node.value.id, node.attr) != ("sys", "exit"), f"{name(path)}:{node.lineno} sys.exit"


def unit_folder(package: Path) -> str:
    """The folder of tests/unit for a package, `registry_shim` being `shim` there."""
    top, *below = package.relative_to(ROOT).parts
    return "/".join(below if top == "modelcar" else ["shim", *below])


def test_unit_tests_lie_where_their_package_does() -> None:
    """Every package has its folder there; those within one may have one, too; and there is no other folder."""
    packages = {path.parent for path in SOURCES if path.name == "__init__.py"}
    unit = ROOT / "tests/unit"
    folders = {str(path.parent.relative_to(unit)) for path in unit.glob("*/**/test_*.py")}
    tested = folders | {str(parent) for folder in folders for parent in Path(folder).parents}
    untested = {unit_folder(package) for package in packages if package.parent.parent == ROOT} - tested
    assert not untested, f"tests/unit has no folder {untested} with tests of the package"
    astray = folders - {unit_folder(package) for package in packages} - set(BESIDE)
    assert not astray, f"no package is called as {astray} in tests/unit"
    assert all((ROOT / place).is_dir() for place in BESIDE.values())


def test_what_several_tests_use_lies_in_no_test() -> None:
    """Helpers have modules of their own, and those that not only unit tests use lie in `tests/support`."""
    for path in TESTS:
        is_unit_test = name(path).startswith("tests/unit/")
        for node in statements(path):
            modules = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            for module in modules:
                assert is_unit_test or not module.startswith("tests.unit"), f"{name(path)} imports {module}"
                assert not module.rpartition(".")[2].startswith("test_"), f"{name(path)} imports {module}"


def test_every_exception_to_a_rule_has_its_reason() -> None:
    """Behind `noqa: CODE` and `type: ignore[code]` stands `  # why`."""
    exception = re.compile(r"# (?:noqa|type: ignore)\b(?!(?:: [A-Z]+\d+(?:, [A-Z]+\d+)*|\[[a-z, -]+\])  # \S)")
    others = [ROOT / "hatch_build.py", *ROOT.glob("scripts/**/*.py"), *ROOT.glob("examples/**/*.py")]
    for path in [*SOURCES, *TESTS, *others]:
        for number, line in enumerate(path.read_text().splitlines(), 1):
            assert not exception.search(line), f"{name(path)}:{number} does not say why"


def test_the_page_about_the_architecture_has_every_package_in_this_order() -> None:
    page = (ROOT / "docs/explanation/architecture.md").read_text()
    _, library, shim = re.split(r"^\| `(?:modelcar|registry_shim)/` .*$", page, flags=re.MULTILINE)
    for table, packages in ((library, LAYERS), (shim, SHIM)):
        assert re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE) == packages
