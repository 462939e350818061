"""The torchrun script of the docs."""

import json
import os
import subprocess
import sys

from support.commands import names, script, stand_in


def test_the_torchrun_script_of_the_docs_trains_and_the_first_process_alone_writes(healthy_folder, tmp_path, request):
    page = request.config.rootpath / "docs" / "how-to" / "cluster.md"
    text = script(page, "srun torchrun").replace(
        "healthy/", f"{healthy_folder}/ --epochs 2 --latents 4 --image-size 32"
    )
    (tmp_path / "train.sh").write_text(text)
    stand_in(tmp_path / "bin", srun='exec "$@"', scontrol="echo localhost")
    environment = os.environ | {
        "PATH": f"{tmp_path / 'bin'}:{os.path.dirname(sys.executable)}:{os.environ['PATH']}",
        "SLURM_JOB_NODELIST": "localhost",
        "SLURM_NNODES": "1",
        "SLURM_JOB_ID": "7",
        "SLURM_GPUS_ON_NODE": "2",
        "OMP_NUM_THREADS": "1",
    }
    command = ["bash", "train.sh"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert names(tmp_path) == {"bin", "train.sh", "mine.safetensors", "mine.training.json"}
    assert done.stdout.splitlines() == ["mine.safetensors", "mine.training.json"]
    record = json.loads((tmp_path / "mine.training.json").read_text())
    assert len(record["epochs"]) == 2
