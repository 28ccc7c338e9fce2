"""Packages offer operations through the entry-point group ``tinygraph.ops``."""

import importlib
import sys

import pytest

import tinygraph as tg
from tinygraph.graph import registry as table


@pytest.fixture
def installed(tmp_path, monkeypatch, registry):
    """Return a function that installs a package with one module of operations."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(table, "_extensions_loaded", [])

    def install(name, source):
        (tmp_path / f"{name}.py").write_text(source)
        folder = tmp_path / f"{name}-1.0.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (folder / "entry_points.txt").write_text(f"[tinygraph.ops]\n{name} = {name}\n")
        importlib.invalidate_caches()
        monkeypatch.delitem(sys.modules, name, raising=False)

    return install


def test_operation_of_an_installed_package_is_found_by_name(installed):
    installed("tripling", "import tinygraph as tg\n@tg.op(elementwise=True)\ndef tripled(x):\n    return 3 * x\n")
    assert tg.operation("tripled")(tg.tensor([2.0])).value == 6


def test_operation_of_an_installed_package_can_be_called_from_a_model(installed):
    installed("tripling", "import tinygraph as tg\n@tg.op(elementwise=True)\ndef tripled(x):\n    return 3 * x\n")
    model = tg.Model(inputs={"x": [1]}, parameters={}, equations="h = tripled(x)", output="h")
    assert model.predict([[2.0]]) == 6


def test_packages_are_not_imported_before_they_are_needed(installed):
    installed("failing", "raise SystemError('imported too early')\n")
    assert tg.operation("relu").name == "relu"


@pytest.mark.parametrize("error", ["ValueError", "SystemExit"])
def test_a_package_that_fails_is_a_warning_that_names_it(installed, error):
    installed("failing", f"raise {error}('of no use')\n")
    with pytest.warns(UserWarning, match=f"'failing' were not loaded: {error}: of no use"):
        assert "relu" in tg.operations()
