"""The programs of docs/how-to/serializers.md print what they say, and its tables say what the code does."""

import re
import subprocess
from pathlib import Path

import pytest
from tests.examples.test_examples import run

from celeriac.plugins import Plugins
from celeriac.settings import Settings

PAGE = (Path(__file__).parents[2] / "docs" / "how-to" / "serializers.md").read_text(encoding="utf-8")
PROGRAMS = re.findall(r"^```python\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("program", PROGRAMS, ids=map(str, range(len(PROGRAMS))))
def test_a_program_prints_what_it_says(program, tmp_path):
    (tmp_path / "shop.py").write_text(program)
    assert run("shop.py", cwd=tmp_path) == re.findall(r"# -> (.*)$", program, re.MULTILINE)


def test_there_are_programs():
    assert len(PROGRAMS) == 4
    assert all("# -> " in program for program in PROGRAMS)


def test_the_command_makes_a_key():
    (line,) = re.findall(r"^```bash\n(.*?)\n```$", PAGE, re.DOTALL | re.MULTILINE)
    key = subprocess.run(["sh", "-c", line.replace("python", "python3", 1)], capture_output=True, text=True, check=True)
    (kept,) = Settings.resolve({"signing_keys": [key.stdout.strip()]}, {}).signing_keys
    assert len(kept.reveal()) == 64


def test_the_table_of_serializers_is_what_is_installed():
    rows = re.findall(r"^\| `(\w+)` \| `(application/[\w-]+)` \|", PAGE, re.MULTILINE)
    assert {kind for _, kind in rows} == {"application/json", *Plugins().serializers()}
    for name, kind in rows[1:]:
        assert Plugins().serializer(name).content_type == kind


def test_what_it_names_is_there():
    for name in ("task_serializer", "result_serializer", "accept_content", "task_compression", "signing_keys"):
        assert name in Settings.__dataclass_fields__
    assert "CELERIAC_SIGNING_KEYS" in PAGE
