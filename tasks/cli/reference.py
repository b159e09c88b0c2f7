"""python -m tasks.cli.reference: write what is derived from the table of verbs and from the settings.

That is man/xc.1, the files in completion/, and tasks/definitions/setting_table.py, which help and completion
read in place of the model: to load that takes ten times as long. tests/cli/test_reference.py says when they
are out of date.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal, get_args, get_origin

from tasks.base import files
from tasks.cli import completion_scripts, man_page
from tasks.definitions.setting_list import HIDDEN
from tasks.definitions.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
HEADER = '''"""The settings as rows: tasks/cli/reference.py writes them from settings.py. Do not edit."""

Row = tuple[str, str, str, tuple[str, ...]]  # name, default, help, choices
# fmt: off
'''


def main() -> None:
    """Write all files that are derived from the table of verbs."""
    for path, text in texts().items():
        with files.atomic(path) as temp:
            temp.write_text(text)


def texts() -> Mapping[Path, str]:
    """What the files should be."""
    scripts = completion_scripts.SCRIPTS
    return {
        ROOT / "tasks" / "definitions" / "setting_table.py": _setting_table(),
        ROOT / "man" / "xc.1": man_page.page(),
        **{ROOT / "completion" / completion_scripts.FILES[shell]: text for shell, text in scripts.items()},
    }


def _setting_table() -> str:
    rows = []
    for name, field in Settings.model_fields.items():
        choices = get_args(field.annotation) if get_origin(field.annotation) is Literal else ()
        switch = field.annotation is bool
        default = ("no", "yes")[field.default] if switch else str(field.default)
        row = (name, default, str(field.description), ("yes", "no") if switch else choices)
        rows += [f"    {row!r},  # noqa: E501\n"] if name not in HIDDEN else []
    return f"{HEADER}ROWS: tuple[Row, ...] = (\n{''.join(rows)})\n"


if __name__ == "__main__":
    main()
