"""What is installed is what is in the tree, under `synth` alone; and it starts quickly."""

import re
import shutil
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    out = tmp_path_factory.mktemp("dist")
    source = tmp_path_factory.mktemp("source") / "tree"
    # a copy: building leaves a build/ folder that would bring deleted modules back
    shutil.copytree(ROOT, source, ignore=shutil.ignore_patterns(".*", "build", "*.egg-info", "__pycache__"))
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(source)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return zipfile.ZipFile(next(out.glob("*.whl")))


def test_wheel_holds_the_tree_and_nothing_beside_synth(wheel):
    found = {name for name in wheel.namelist() if ".dist-info/" not in name}
    assert {name.split("/")[0] for name in found} == {"synth"}
    expected = {str(p.relative_to(ROOT)) for p in (ROOT / "synth").rglob("*.py")}
    for top in ("trainers", "exporters"):
        expected |= {f"synth/{p.relative_to(ROOT)}" for p in (ROOT / top).rglob("*.py")}
    expected.add("synth/py.typed")
    data = (
        "models/weights",
        "hosts/weights",
        "layout/weights",
        "layout/priors/weights",
        "style/weights",
        "report/assets",
        "show/assets",
    )
    for folder in (f"synth/{name}" for name in data):
        expected |= {str(p.relative_to(ROOT)) for p in (ROOT / folder).rglob("*") if p.is_file()}
    assert found == expected
    assert not [name for name in wheel.namelist() if name.endswith((".nii", ".nii.gz"))]


def test_shipped_weights_are_within_the_budget():
    sizes = [p.stat().st_size for p in (ROOT / "synth/models/weights").rglob("*") if p.is_file()]
    assert max(sizes) < 25e6
    assert sum(sizes) < 60e6


def test_help_answers_without_tensorflow_and_fast():
    code = (
        "import sys; from click.testing import CliRunner; from synth.cli import main; "
        "assert CliRunner().invoke(main, ['--help']).exit_code == 0; "
        "print(sorted({'tensorflow', 'scipy', 'nibabel', 'h5py'} & set(sys.modules)))"
    )
    times = []
    for _ in range(3):
        start = time.perf_counter()
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        times.append(time.perf_counter() - start)
        assert done.stdout.strip() == "[]", done.stderr
        if times[-1] < 1.0:
            break
    assert min(times) < 1.0


def test_importing_layouts_and_exporters_brings_no_tensorflow():
    modules = (
        "synth.runs.generate, synth.hosts.sources, synth.runs.reconstruct, synth.hosts.extract, synth.exporters, "
        "synth.style.prior, synth.runs.segment, synth.models.cards, synth.models.ensembles"
    )
    code = f"import sys, {modules}; print('tensorflow' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "False", done.stderr


def _documented_commands():
    for path in (
        ROOT / "README.md",
        *sorted((ROOT / "docs").glob("*.md")),
        *sorted((ROOT / "examples").rglob("*.[mp][dy]")),
    ):
        for line in path.read_text().splitlines():
            for words in re.findall(r"(?:^|&& |`)\s*(synth (?:[a-z]|--)[^`#|]*)", line):
                yield pytest.param(words.strip(), id=f"{path.name}: {words.strip()[:60]}")


@pytest.mark.parametrize("words", list(_documented_commands()))
def test_commands_in_the_documents_exist_with_their_options(words):
    import shlex

    from synth.cli import main

    command, names = main, shlex.split(words)[1:]
    while names and hasattr(command, "get_command") and not names[0].startswith("-"):
        command = command.get_command(None, names.pop(0))
        assert command is not None, words
    known = {option for parameter in command.params for option in parameter.opts} | {"--help", "-h", "--version"}
    used = {name.split("=")[0] for name in names if re.match(r"-{1,2}[a-z]", name)}
    assert used <= known, f"{words}: {used - known}"


def test_python_blocks_of_the_readme_compile():
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.S)
    assert blocks
    for block in blocks:
        compile(block, "README.md", "exec")
