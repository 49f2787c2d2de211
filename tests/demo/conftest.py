"""What the demo's tests share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from penstock._demo.certificates import Certificates, make_certificates
from penstock._demo.child import Child


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def server(certificates: Certificates) -> Iterator[Child]:
    with Child("server", certificates.chain, certificates.key, 0) as child:
        yield child


@pytest.fixture
def report(tmp_path: Path) -> Path:
    return tmp_path / "report.json"
