"""Every Python example in the README and in the docs runs, and the pages say what the code says.

An example is a fenced block marked `python`. It runs as it stands, against a TLS server on loopback that takes the
place of https://api.example.com: the look-up of every name leads there, and certifi's bundle holds its authority. A
block may be a whole program, or a fragment with `await` in it; a fragment may use a `client` and a `pool` without
opening them.
"""

from __future__ import annotations

import ast
import importlib.util
import inspect
import re
import socket
from collections.abc import Iterator
from pathlib import Path
from types import CodeType
from typing import Any, NamedTuple

import attrs
import pytest
import trio

import penstock
from penstock._net import tls_profile
from penstock._net.network import Address, SocketNetwork
from tests.support.certificates import authority
from tests.support.example_server import running_example_server
from tests.test_public_api import EVENTS, PUBLIC

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
FENCE = re.compile(r"^```python[^\n]*\n(.*?)^```", re.DOTALL | re.MULTILINE)


class Example(NamedTuple):
    """One block of code and where it stands."""

    page: Path
    line: int
    text: str

    @property
    def name(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"

    def compile(self) -> CodeType:
        """Bytecode with the page's own line numbers; `await` is allowed outside of functions."""
        text = "\n" * self.line + self.text
        code: CodeType = compile(text, str(self.page), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
        return code

    def lacks(self, name: str) -> bool:
        """Whether the block uses a name that it does not bind."""
        found = [node for node in ast.walk(ast.parse(self.text)) if isinstance(node, ast.Name) and node.id == name]
        return bool(found) and not any(isinstance(node.ctx, ast.Store) for node in found)


def find_examples() -> list[Example]:
    return [
        Example(page, page.read_text()[: match.start()].count("\n") + 1, match.group(1))
        for page in PAGES
        for match in FENCE.finditer(page.read_text())
    ]


@pytest.fixture(scope="module")
def example_port() -> Iterator[int]:
    with running_example_server() as port:
        yield port


@pytest.fixture
def api_example_com(example_port: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the loopback server the one that every name leads to, and trusted; there is a speech.wav to send."""

    async def resolve(self: SocketNetwork, host: str, port: int) -> list[Address]:
        await trio.lowlevel.checkpoint()
        return [Address(socket.AF_INET, ("127.0.0.1", example_port))]

    (tmp_path / "speech.wav").write_bytes(bytes(320_044))
    monkeypatch.chdir(tmp_path)
    bundle = tmp_path / "authority.pem"
    authority().cert_pem.write_to_path(bundle)
    monkeypatch.setattr(SocketNetwork, "resolve", resolve)
    monkeypatch.setattr("certifi.where", lambda: str(bundle))
    monkeypatch.setattr(tls_profile, "_contexts", {})


async def run_fragment(example: Example, code: CodeType) -> None:
    names: dict[str, Any] = {"penstock": penstock, "trio": trio, "__name__": "__main__"}
    with trio.fail_after(20):
        async with penstock.Pool() as pool, penstock.Client(pool=pool) as client:
            if example.lacks("pool"):
                names["pool"] = pool
            if example.lacks("client"):
                names["client"] = client
            waiting = eval(code, names)
            if waiting is not None:
                await waiting


@pytest.mark.usefixtures("api_example_com")
@pytest.mark.parametrize("example", find_examples(), ids=lambda example: example.name)
def test_example_runs(example: Example) -> None:
    code = example.compile()
    if code.co_flags & inspect.CO_COROUTINE or example.lacks("pool") or example.lacks("client"):
        trio.run(run_fragment, example, code)
    else:
        exec(code, {"__name__": "__main__"})


def test_there_are_examples() -> None:
    assert len(find_examples()) > 15


# ---- the pages say what the code says --------------------------------------------------------------------------------

CONFIGURATION = (ROOT / "docs/reference/configuration.md").read_text()
SECTION = re.compile(r"^## (\w+)[^\n]*\n(.*?)(?=^## |\Z)", re.DOTALL | re.MULTILINE)
FIELD = re.compile(r"^### `(\w+)`\n(.*?)(?=^### |\Z)", re.DOTALL | re.MULTILINE)


def documented_fields(kind: str) -> dict[str, str]:
    return {
        name: text
        for section, body in SECTION.findall(CONFIGURATION)
        if section == kind
        for name, text in FIELD.findall(body)
    }


def written(field: attrs.Attribute[Any]) -> str:
    """A default as the page writes it."""
    if field.default is attrs.NOTHING:
        return "required."
    if isinstance(field.default, attrs.Factory):  # type: ignore[arg-type]
        return f"`{field.default.factory.__name__}()`"  # type: ignore[union-attr]
    if isinstance(field.default, frozenset):
        return f"`{{{', '.join(map(str, sorted(field.default)))}}}`"
    return f'`"{field.default}"`' if isinstance(field.default, str) else f"`{field.default!r}`"


CONFIGURED = [
    penstock.PoolConfig,
    penstock.RetryPolicy,
    penstock.HTTP2Config,
    penstock.Timeouts,
    penstock.Reconnect,
    penstock.TLSConfig,
    penstock.Upstream,
    penstock.Proxy,
    penstock.ProxyRules,
]


@pytest.mark.parametrize("kind", CONFIGURED, ids=lambda kind: kind.__name__)
def test_every_setting_is_documented_with_its_default(kind: type[attrs.AttrsInstance]) -> None:
    documented = documented_fields(kind.__name__)

    fields = [field for field in attrs.fields(kind) if field.init]

    assert list(documented) == [field.name for field in fields]
    for field in fields:
        assert f"Default: {written(field)}" in documented[field.name], field.name


def test_every_public_name_is_in_the_reference() -> None:
    reference = "\n".join(page.read_text() for page in (ROOT / "docs/reference").glob("*.md"))

    missing = [name for name in PUBLIC | EVENTS if not re.search(rf"\b{name}\b", reference)]

    assert missing == []


def test_the_picture_of_the_states_is_drawn_from_the_table() -> None:
    spec = importlib.util.spec_from_file_location("draw_states", ROOT / "docs/tools/draw_states.py")
    assert spec is not None
    assert spec.loader is not None
    draw_states = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(draw_states)

    for path, text in draw_states.outputs().items():
        assert path.read_text() == text, f"run docs/tools/draw_states.py: {path.name} is out of date"


def test_the_readme_stands_alone() -> None:
    """It is also what a package index shows, where no file of the repository is next to it."""
    readme = (ROOT / "README.md").read_text()

    assert [link for link in re.findall(r"\]\(([^)]+)\)", readme) if not link.startswith("https://")] == []
    assert [path for path in re.findall(r"`(docs/[^`]+)`", readme) if not (ROOT / path).exists()] == []


def test_ci_runs_the_command_of_the_readme() -> None:
    commands = re.findall(r"^```console\n(.*?)\n```", (ROOT / "README.md").read_text(), re.DOTALL | re.MULTILINE)

    assert [command.rpartition(" -s ")[2] for command in commands] == ["demo", "tests"]
    assert "README.md" in (ROOT / ".ci/run").read_text()
