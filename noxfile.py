"""What a machine does for this project. `nox` alone runs the checks; `nox --list` names the rest.

`nox -s tests` uses the Python that nox runs on; `nox -s tests-3.13` uses another, and `nox -t pythons` every supported
one that is installed. Which ones are supported stands in the classifiers of `pyproject.toml` and nowhere else.
"""

from __future__ import annotations

import re
from pathlib import Path

import nox

nox.needs_version = ">=2026.2.9"
nox.options.error_on_missing_interpreters = False
nox.options.download_python = "never"
nox.options.sessions = ["tests", "lint", "types", "docs"]

PROJECT = nox.project.load_toml("pyproject.toml")
PYTHONS = nox.project.python_versions(PROJECT)
SOURCES = ["src", "tests", "benchmarks", "docs", "noxfile.py"]


#: Policies that the machine is not asked about, and their tests.
POLICIES = ["pins", "retry", "retry_budget", "retry_policy"]
POLICY_TESTS = [f"tests/core/test_{name}.py" for name in POLICIES]
BY_THEMSELVES = ",".join(f"*/{name}.py" for name in POLICIES)

#: The tests that go through the machine: the others look at one policy, count instructions with a tracer of their own,
#: or put faults in.
MACHINE_TESTS = ["tests/core", *(f"--ignore=tests/core/test_{name}.py" for name in (
    "config", "cost", "model_bites", *POLICIES,
))]  # fmt: skip

#: What flake8-async is not asked for. Its last group wants a checkpoint in every async function, while here a function
#: tries first and waits after; ASYNC114 wants a list of every startable function, for a rule that knows trio's own.
NOT_ASKED = ["ASYNC114", "ASYNC910", "ASYNC911", "ASYNC912", "ASYNC913"]
#: In tests a fake is async because what it stands for is, request bodies are generators, and pipes hold a few bytes.
NOT_ASKED_OF_TESTS = [*NOT_ASKED, "ASYNC119", "ASYNC124", "ASYNC231", "ASYNC900"]


#: The packages that must be there in each environment of the session `sdk`; what they need clashes.
SDKS = {"latest": "openai anthropic", "older": "openai anthropic", "any-llm": "any_llm"}


def install(session: nox.Session, *groups: str, extras: str = "demo,fast,brotli,zstd,socks") -> None:
    """Install Penstock as an editable package, with its extras and the named dependency groups."""
    requirements = [line for group in groups for line in nox.project.dependency_groups(PROJECT, group)]
    session.install("-e", f".[{extras}]", *requirements)


def run_tests(session: nox.Session) -> None:
    """The whole test suite."""
    install(session, "test")
    session.run("python", "-m", "pytest", *session.posargs)


nox.session(run_tests, name="tests")
for version in PYTHONS:
    nox.session(run_tests, python=version, name=f"tests-{version}", tags=["pythons"], default=False)


@nox.session
def floors(session: nox.Session) -> None:
    """The test suite with the oldest dependencies that `pyproject.toml` allows."""
    install(session, "test")
    extras = PROJECT["project"]["optional-dependencies"].values()
    lines = [*PROJECT["project"]["dependencies"], *(line for extra in extras for line in extra)]
    session.install(*(re.sub(r"\s*>=\s*", "==", line) for line in lines))
    session.run("python", "-m", "pytest", *session.posargs)


@nox.session
def coverage(session: nox.Session) -> None:
    """Every branch of the pure core, by tests that go through `PoolMachine`; pins and replays by their own."""
    install(session, "test")
    session.env["COVERAGE_FILE"] = str(Path(session.create_tmp(), "coverage"))
    for rest, tests, modules in (
        (session.posargs, MACHINE_TESTS, ["--omit", BY_THEMSELVES]),
        ([], POLICY_TESTS, ["--include", BY_THEMSELVES]),
    ):
        session.run("coverage", "run", "-m", "pytest", "-q", *tests, *rest)
        session.run("coverage", "report", *modules)


@nox.session(default=False)
@nox.parametrize("sdks", list(SDKS))
def sdk(session: nox.Session, sdks: str) -> None:
    """The SDKs of OpenAI, Anthropic and any-llm on trio, against a fake provider: latest, older, and any-llm's."""
    install(session, "test", f"sdk-{sdks}")
    session.env["SDKS"] = SDKS[sdks]
    session.run("python", "-m", "pytest", "-q", "tests/sdk", "tests/examples/test_chats.py", *session.posargs)


@nox.session
def model(session: nox.Session) -> None:
    """The model of the pool with a hundred times the usual steps."""
    install(session, "test")
    # It takes longer than any other test may.
    options = ["--hypothesis-profile=model", "-o", "faulthandler_timeout=0"]
    session.run("python", "-m", "pytest", "tests/core/test_machine_model.py", *options, *session.posargs)


@nox.session
def lint(session: nox.Session) -> None:
    """Ruff's rules and format, and flake8-async for what ruff does not know."""
    session.install(*nox.project.dependency_groups(PROJECT, "lint"))
    session.run("ruff", "check", *SOURCES)
    session.run("ruff", "format", "--check", *SOURCES)
    for folder in SOURCES:
        files = [folder] if folder.endswith(".py") else sorted(map(str, Path(folder).rglob("*.py")))
        unasked = ",".join(NOT_ASKED if folder == "src" else NOT_ASKED_OF_TESTS)
        session.log(f"flake8-async --disable {unasked} {folder}")
        session.run("flake8-async", "--disable", unasked, *files, log=False)


@nox.session
def types(session: nox.Session) -> None:
    """Mypy, strictly, over the package and over a program that uses its public surface."""
    install(session, "test", "types")
    session.run("mypy")


@nox.session
def docs(session: nox.Session) -> None:
    """Build the pages; a warning or a link to nowhere is an error."""
    install(session, "docs")
    session.run(
        "sphinx-build", "-n", "-W", "--keep-going", "-q", "-b", "html", "docs", "docs/_build/html", *session.posargs
    )


@nox.session
def demo(session: nox.Session) -> None:
    """What pooling changes, on this machine."""
    install(session, extras="demo")
    session.run("penstock", "demo", *session.posargs)


@nox.session
def bench(session: nox.Session) -> None:
    """Penstock beside its peers, in 17 minutes; `-- --quick` in two minutes, `-- --docs` for the page."""
    install(session, "bench")
    session.run("python", "-m", "benchmarks", *session.posargs)
