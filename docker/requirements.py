"""What scoring needs of the packages in pyproject.toml: all but those of training.

python docker/requirements.py [dicom]
"""

import sys
from pathlib import Path

import tomllib

NOT_FOR_SCORING = ("torch",)

project = tomllib.loads(Path("pyproject.toml").read_text())["project"]
extras = [name.strip() for name in "".join(sys.argv[1:]).strip("[]").split(",") if name.strip()]
needed = project["dependencies"] + [item for name in extras for item in project["optional-dependencies"][name]]
sys.stdout.writelines(f"{item}\n" for item in needed if not item.startswith(NOT_FOR_SCORING))
