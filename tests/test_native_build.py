"""The C++ library is built where there is a compiler, from what that compiler can; the package installs in any case."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import vocoder.engines.cpu
from vocoder.engines.cpu.library import NAMES, find_library

ROOT = Path(__file__).parents[1]
SOURCES = ROOT / "vocoder" / "engines" / "cpu"

needs_cmake = pytest.mark.skipif(not shutil.which("cmake"), reason="needs cmake, which pip brings only while it builds")
needs_compiler = pytest.mark.skipif(not shutil.which("c++"), reason="needs a C++ compiler")


def run(*command: str | Path, **environment: str | Path) -> str:
    everything = os.environ | {name: os.fspath(value) for name, value in environment.items()}
    result = subprocess.run(command, env=everything, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert result.returncode == 0, result.stdout
    return result.stdout


def compiler_that_refuses(what: str, folder: Path) -> Path:
    """A c++ that fails if a word of its command line is like the pattern."""
    path = folder / "c++"
    path.write_text(f'#!/bin/sh\nfor word; do case $word in {what}) exit 1;; esac; done\nexec c++ "$@"\n', "ascii")
    path.chmod(0o755)
    return path


def test_library_is_one_of_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VOCODER_NATIVE_LIBRARY", raising=False)
    path = find_library()
    assert path is None or (path.name in NAMES and str(path.parent) in list(vocoder.engines.cpu.__path__))


def test_another_library_can_be_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "other.so").touch()
    monkeypatch.setenv("VOCODER_NATIVE_LIBRARY", str(tmp_path / "other.so"))
    assert find_library() == tmp_path / "other.so"


@needs_cmake
def test_without_a_compiler_nothing_is_built_and_nothing_fails(tmp_path: Path) -> None:
    said = run("cmake", "-S", SOURCES, "-B", tmp_path / "build", CXX=tmp_path / "no-compiler")
    assert "There is no working C++ compiler: the native engine is left out." in said
    run("cmake", "--build", tmp_path / "build")
    run("cmake", "--install", tmp_path / "build", "--prefix", tmp_path / "installed")
    assert not list(tmp_path.glob("installed/*"))


@needs_cmake
@needs_compiler
@pytest.mark.slow
def test_instruction_set_that_the_compiler_does_not_know_is_left_out(tmp_path: Path) -> None:
    compiler = compiler_that_refuses("-mamx*", tmp_path)
    build = tmp_path / "build"
    run("cmake", "-S", SOURCES, "-B", build, "-DCMAKE_EXPORT_COMPILE_COMMANDS=ON", CXX=compiler)
    commands = [entry["command"] for entry in json.loads((build / "compile_commands.json").read_text("utf-8"))]
    assert any("-DISA=generic " in command for command in commands)
    assert not any("-DISA=amx " in command for command in commands)
    [command] = [command for command in commands if command.endswith("cpu.cpp")]
    subprocess.run(shlex.split(command), cwd=build, check=True)
    symbols = run("nm", "--demangle", *build.rglob("cpu.cpp.o"))
    assert "generic::kernels" in symbols
    assert "amx::kernels" not in symbols


@needs_compiler
@pytest.mark.slow
@pytest.mark.parametrize(("refused", "platform"), [("*", "linux"), ("*kernels.cpp", "any")], ids=["none", "broken"])
def test_package_installs_whatever_the_compiler_does(refused: str, platform: str, tmp_path: Path) -> None:
    if platform == "linux" and not sys.platform.startswith("linux"):
        platform = "macosx"
    options = ["--no-deps", "--disable-pip-version-check", "--wheel-dir", str(tmp_path)]
    try:
        run(sys.executable, "-m", "pip", "wheel", *options, str(ROOT), CXX=compiler_that_refuses(refused, tmp_path))
    except AssertionError as error:
        if "scikit-build-core" in str(error) and "No matching distribution found" in str(error):
            pytest.skip("pip reaches no package index.")
        raise
    [wheel] = tmp_path.glob("*.whl")
    assert f"-py3-none-{platform}" in wheel.name
    shipped = {name for name in zipfile.ZipFile(wheel).namelist() if name.startswith("vocoder/")}
    assert not any(name.endswith(NAMES) for name in shipped)
    modules = {path.relative_to(ROOT).as_posix() for path in (ROOT / "vocoder").rglob("*.py")}
    assert modules | {"vocoder/py.typed", "vocoder/voices/kathleen-64/model.safetensors"} <= shipped
    assert not any(name.endswith((".cpp", ".h")) for name in shipped)
