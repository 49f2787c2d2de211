"""The floors hold: a file imports from its own floor or below, and the core imports nothing that does I/O."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

PACKAGE = Path(__file__).parent.parent / "src" / "penstock"
FILES = sorted(PACKAGE.rglob("*.py"))

#: Who may import whom: a file imports floors with its own number or a lower one. What is not here is an edge.
FLOORS = {
    "_errors": 0,
    "_types": 0,
    "_events": 0,
    "_config": 0,
    "_retry_config": 0,
    "_tls_config": 0,
    "_http2_config": 0,
    "_proxy_config": 0,
    "_secrets": 0,
    "_callers_code": 0,
    "_grammar": 0,
    "_proxy_rules": 0,
    "_environment": 0,
    "_validators": 0,
    "_place": 0,
    "_url": 0,
    "_version": 0,
    "_core": 1,
    "_net": 2,
    "_http": 3,
    "_pool": 4,
    "_client": 5,
}

#: Edges see what a user sees, and floor 0's words; the fakes also speak the interface they stand in for.
EDGES = {
    "__main__": {"_demo"},
    "_demo": set[str](),
    "events": set(),
    "httpx": set(),
    "testing": {"_net.network", "_net.stream", "_net.watcher"},
}

#: What would make the pure core impure.
NOT_IN_CORE = {
    "asyncio", "logging", "random", "secrets", "select", "selectors", "signal", "socket", "ssl", "subprocess",
    "threading", "time", "trio",
}  # fmt: skip

#: Imported where they are needed, so that `import penstock` stays cheap or works without them.
LAZY = {
    "h11", "httptools", "h2", "hpack", "hyperframe", "certifi", "rich", "brotli", "zstandard", "trustme",
    "cryptography", "socksio",
}  # fmt: skip

MOST_LINES = 600


class Import(NamedTuple):
    """One import statement: `module` is absolute, `name` what is taken from it."""

    module: str
    line: int
    at_run_time: bool
    at_module_level: bool


def module_name(file: Path) -> str:
    parts = ["penstock", *file.relative_to(PACKAGE).with_suffix("").parts]
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports_of(file: Path) -> Iterator[Import]:
    """Every import of a file, those for type checkers and those inside functions too."""
    package = module_name(file) if file.name == "__init__.py" else module_name(file).rpartition(".")[0]

    def walk(node: ast.AST, at_run_time: bool, at_module_level: bool) -> Iterator[Import]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Import):
                for alias in child.names:
                    yield Import(alias.name, child.lineno, at_run_time, at_module_level)
            elif isinstance(child, ast.ImportFrom):
                parts = package.split(".")
                base = ".".join(parts[: len(parts) - child.level + 1]) if child.level else ""
                source = ".".join(filter(None, [base, child.module]))
                for alias in child.names:
                    inner = f"{source}.{alias.name}"
                    yield Import(inner if is_module(inner) else source, child.lineno, at_run_time, at_module_level)
            elif isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
                for inner_node in child.body:
                    yield from walk(ast.Module([inner_node], []), False, at_module_level)
            else:
                inside = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
                yield from walk(child, at_run_time, at_module_level and not inside)

    yield from walk(ast.parse(file.read_text()), True, True)


def is_module(name: str) -> bool:
    path = PACKAGE.joinpath(*name.split(".")[1:]) if name.startswith("penstock") else None
    return path is not None and (path.with_suffix(".py").is_file() or path.is_dir())


def place_of(module: str) -> str:
    """The first part below the package: the name of a floor or an edge; "" for the package itself."""
    return module.split(".")[1] if "." in module else ""


def inside(found: Import) -> bool:
    return found.module.split(".")[0] == "penstock"


def name_of(file: Path) -> str:
    return str(file.relative_to(PACKAGE))


@pytest.mark.parametrize("file", FILES, ids=name_of)
def test_nothing_is_imported_from_a_higher_floor(file: Path) -> None:
    floor = FLOORS.get(place_of(module_name(file)))
    if floor is None:
        return

    upward = [
        f"line {found.line}: {found.module}"
        for found in imports_of(file)
        if inside(found) and FLOORS.get(place_of(found.module), 99) > floor
    ]

    assert upward == []


@pytest.mark.parametrize("file", FILES, ids=name_of)
def test_every_file_has_a_floor_or_is_an_edge(file: Path) -> None:
    place = place_of(module_name(file))

    assert place in FLOORS or place in EDGES or place == ""


@pytest.mark.parametrize("file", [file for file in FILES if "_core" in file.parts], ids=name_of)
def test_the_core_does_no_io_and_knows_no_clock(file: Path) -> None:
    impure = []
    for found in imports_of(file):
        top = found.module.split(".")[0]
        allowed = inside(found) or top == "attrs" or (top in sys.stdlib_module_names and top not in NOT_IN_CORE)
        if not allowed:
            impure.append(f"line {found.line}: {found.module}")

    assert impure == []


@pytest.mark.parametrize("file", [f for f in FILES if place_of(module_name(f)) in EDGES], ids=name_of)
def test_an_edge_uses_the_public_surface(file: Path) -> None:
    place = place_of(module_name(file))
    allowed = {"", place, *EDGES[place], *(name for name, floor in FLOORS.items() if floor == 0)}

    private = [
        f"line {found.line}: {found.module}"
        for found in imports_of(file)
        if inside(found)
        and place_of(found.module) not in allowed
        and found.module.removeprefix("penstock.") not in allowed
    ]

    assert private == []


def imported_at_once(start: str) -> set[str]:
    """Every module that importing `start` brings along."""
    files = {module_name(file): file for file in FILES}
    reached: set[str] = set()
    todo = [start]
    while todo:
        module = todo.pop()
        parents = [module.rsplit(".", cut)[0] for cut in range(module.count(".") + 1)]
        for name in parents:
            if name in files and name not in reached:
                reached.add(name)
                todo += [
                    found.module for found in imports_of(files[name]) if found.at_run_time and found.at_module_level
                ]
    return reached


@pytest.mark.parametrize("module", sorted(imported_at_once("penstock")))
def test_what_is_rarely_needed_is_imported_late(module: str) -> None:
    file = next(file for file in FILES if module_name(file) == module)
    early = [
        f"line {found.line}: {found.module}"
        for found in imports_of(file)
        if found.at_run_time and found.at_module_level and found.module.split(".")[0] in LAZY
    ]

    assert early == []


def test_importing_the_package_loads_none_of_it() -> None:
    program = f"import sys, penstock; print(*sorted({LAZY!r} & set(sys.modules)))"

    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert found.stdout.split() == []


def speaks_http2(file: Path) -> bool:
    """Whether a file belongs to HTTP/2: those may import its libraries, and are imported late themselves."""
    return file.parent.name == "_http" and (file.stem == "h2" or file.stem.startswith("h2_"))


@pytest.mark.parametrize("file", FILES, ids=name_of)
def test_http2_is_known_to_its_own_files_only(file: Path) -> None:
    libraries = {"h2", "hpack", "hyperframe"}
    early = [
        f"line {found.line}: {found.module}"
        for found in imports_of(file)
        if found.at_run_time
        and (
            found.module.split(".")[0] in libraries
            or (found.at_module_level and found.module.startswith("penstock._http.h2"))
        )
    ]

    assert speaks_http2(file) or early == []


ONE_REQUEST = """
import sys, trio, penstock
from penstock.testing import FakeNetwork, serve_ok

async def main():
    async with FakeNetwork() as network:
        network.listen("api.test", 80, serve_ok())
        async with penstock.Pool(network=network) as pool, penstock.Client(pool) as client:
            assert (await client.get("http://api.test")).text == "ok"

trio.run(main)
print(*sorted({name.partition(".")[0] for name in sys.modules} & {"h2", "hpack", "hyperframe"}))
print(*sorted(name for name in sys.modules if name.startswith("penstock._http.h2")))
"""


def test_a_request_over_http1_loads_nothing_of_http2() -> None:
    found = subprocess.run([sys.executable, "-c", ONE_REQUEST], capture_output=True, text=True, check=True)

    assert found.stdout.split() == []


def test_no_import_at_run_time_goes_round_in_a_circle() -> None:
    graph = {
        module_name(file): {
            found.module for found in imports_of(file) if inside(found) and found.at_module_level and found.at_run_time
        }
        for file in FILES
    }
    done: set[str] = set()

    def visit(module: str, path: tuple[str, ...]) -> None:
        assert module not in path, " → ".join((*path[path.index(module) :], module))
        if module in done:
            return
        for other in graph.get(module, ()):
            if other != module:
                visit(other, (*path, module))
        done.add(module)

    for module in graph:
        visit(module, ())


@pytest.mark.parametrize("file", FILES, ids=name_of)
def test_a_file_stays_small(file: Path) -> None:
    assert len(file.read_text().splitlines()) <= MOST_LINES


def test_there_is_no_drawer_for_odds_and_ends() -> None:
    assert [name_of(file) for file in FILES if file.stem.strip("_") in {"utils", "util", "helpers", "misc"}] == []
