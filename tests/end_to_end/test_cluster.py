"""A cohort on a dask cluster, whose workers may die, and on SLURM."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support.commands import finish, rows, script, stand_in, start
from support.corpus import GOOD

pytest.importorskip("distributed")
pytestmark = pytest.mark.full
SCANS = 8


@pytest.fixture
def cohort(tmp_path):
    (tmp_path / "in").mkdir()
    for number in range(SCANS):
        (tmp_path / "in" / f"s{number:02}_t1.nii").write_bytes(GOOD)
    return tmp_path / "in"


def statuses(folder):
    return [row["status"] for row in rows(folder / "cohort.csv")]


def keys_in(place):
    """Write a key and its certificate; return the settings of dask that name them."""
    from distributed import Security

    made = Security.temporary()
    (place / "key.pem").write_text(made.tls_client_key)
    (place / "ca.pem").write_text(made.tls_ca_file)
    prefix = "DASK_DISTRIBUTED__COMM__TLS"
    parts = {f"{prefix}__{part}__{what}": str(place / name) for part in ("SCHEDULER", "WORKER", "CLIENT")
             for what, name in (("KEY", "key.pem"), ("CERT", "ca.pem"))}  # fmt: skip
    return parts | {f"{prefix}__CA_FILE": str(place / "ca.pem")}


@contextlib.contextmanager
def running_cluster(place, workers):
    """A scheduler and workers as processes with TLS, started by dask's own commands; and the client's environment."""
    file = place / "scheduler.json"
    common = ["--scheduler-file", str(file), "--no-dashboard"]
    keys = keys_in(place)

    def dask(*arguments):
        command = [sys.executable, "-m", "dask", *arguments, *common]
        return subprocess.Popen(command, env=os.environ | keys, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    processes = [dask("scheduler", "--port", "0", "--protocol", "tls")]
    try:
        while not file.exists():
            time.sleep(0.05)
        processes += [dask("worker", "--nthreads", "1", "--no-nanny") for _ in range(workers)]
        yield file, processes[1:], keys
    finally:
        for process in processes:
            process.kill()
            process.wait()


def test_a_worker_killed_half_way_loses_no_scan(cohort, tmp_path, small_model):
    out, log = tmp_path / "out", tmp_path / "log.jsonl"
    with running_cluster(tmp_path, workers=2) as (scheduler, workers, keys):
        arguments = [
            "score",
            cohort,
            "-m",
            small_model,
            "-o",
            out,
            "--scheduler",
            scheduler,
            "--log-json",
            log,
        ]
        process = start(*arguments, env=os.environ | keys)
        while not log.exists() or log.read_text().count('"event": "scan"') < 4:
            assert process.poll() is None, process.communicate()
            time.sleep(0.02)
        workers[0].send_signal(signal.SIGKILL)
        code, _, err = finish(process)
    assert code == 0, err
    assert statuses(out) == ["done"] * SCANS
    events = [json.loads(line) for line in log.read_text().splitlines()]
    assert sorted(event["scan"] for event in events if event["event"] == "scan") == sorted(map(str, cohort.iterdir()))


def test_the_slurm_array_of_the_docs_scores_every_scan_once(cohort, tmp_path, small_model, request):
    for path in sorted(cohort.iterdir())[4:]:
        path.unlink()
    page = request.config.rootpath / "docs" / "how-to" / "cluster.md"
    (tmp_path / "array.sh").write_text(script(page, "#SBATCH --array"))
    (tmp_path / "scans.csv").write_text("scan\n" + "".join(f"in/{path.name}\n" for path in sorted(cohort.iterdir())))
    environment = os.environ | {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "VAE_LOC_MODEL": str(small_model),
        "SLURM_CPUS_PER_TASK": "1",
        "SLURM_ARRAY_TASK_COUNT": "2",
        "SLURM_ARRAY_TASK_MIN": "1",
    }
    for task in ("1", "2"):
        one = environment | {"SLURM_ARRAY_TASK_ID": task}
        done = subprocess.run(["bash", "array.sh"], cwd=tmp_path, env=one, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    made = {path: path.stat().st_mtime_ns for path in (tmp_path / "results").glob("*_scores.json")}
    assert len(made) == 4
    command = script(page, "vae-loc segment scans.csv").replace("--jobs 4", "--jobs 1")
    done = subprocess.run(["bash", "-c", command], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert statuses(tmp_path / "results") == ["skipped"] * 4
    assert {path: path.stat().st_mtime_ns for path in made} == made


SBATCH = """# a stand-in for SLURM's sbatch: runs the script at once, says its number
for last; do :; done
job=$(cat "$last")  # which is removed once it is submitted
setsid /bin/sh -c "$job" >/dev/null 2>&1 &
echo $! >> "$QUEUE"
echo "Submitted batch job $!"
"""


def test_slurm_jobs_are_asked_for_and_score(cohort, tmp_path, small_model):
    pytest.importorskip("dask_jobqueue")
    stand_in(tmp_path / "bin", sbatch=SBATCH, scancel='kill -- "-$1"')
    for path in sorted(cohort.iterdir())[2:]:
        path.unlink()
    environment = os.environ | {
        "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}",
        "QUEUE": str(tmp_path / "queue"),
        "DASK_JOBQUEUE__SLURM__INTERFACE": "lo",
    }
    arguments = ["score", "in", "-m", small_model, "-o", "out", "--scheduler", "slurm", "--jobs", 1]
    try:
        code, _, err = finish(start(*arguments, env=environment, cwd=tmp_path), 300)
        assert code == 0, err
        assert statuses(tmp_path / "out") == ["done", "done"]
        assert len((tmp_path / "queue").read_text().split()) == 1
    finally:
        for number in (tmp_path / "queue").read_text().split() if (tmp_path / "queue").exists() else []:
            with contextlib.suppress(OSError):
                os.killpg(int(number), signal.SIGKILL)
