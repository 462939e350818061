"""A training ends with what a person needs: how well it learned, what it rests on, what to do next."""

from support.commands import run

TINY = ["--latents", "4", "--image-size", "32", "--threads", "1", "--epochs", "2"]


def trained(monkeypatch, capsys, folder, output, *options):
    """Train the smallest model; return what was said."""
    monkeypatch.setattr("logging.lastResort", None)
    code, said = run(monkeypatch, capsys, "train", folder, "-o", output, *TINY, *options)
    assert code == 0, said.err
    return said


def test_train_ends_with_loss_share_and_next_step(healthy_folder, tmp_path, monkeypatch, capsys):
    model = tmp_path / "m.safetensors"
    said = trained(monkeypatch, capsys, healthy_folder, model)
    assert f"{model}: the network learned from 4 subjects in 2 epochs." in said.err
    assert "Loss of the held-out slices: " in said.err
    assert "Thresholds and findings rest on 1 subject held out (20%)." in said.err
    assert f"vae-loc segment SCAN -m {model} -o results --report" in said.err
    assert said.out.split() == [str(model), str(tmp_path / "m.training.json")]


def test_thresholds_from_one_held_out_subject_are_a_warning(healthy_folder, tmp_path, monkeypatch, capsys):
    said = trained(monkeypatch, capsys, healthy_folder, tmp_path / "m.safetensors")
    warnings = [line for line in said.err.splitlines() if line.startswith("warning: ")]
    assert len(warnings) == 1
    assert warnings[0].startswith("warning: thresholds and findings rest on 1 subject that the network did not learn")


def test_a_reference_is_counted_and_quiet_is_quiet(healthy_folder, tmp_path, monkeypatch, capsys):
    reference = [a for scan in sorted(healthy_folder.iterdir())[:2] for a in ("--reference", scan)]
    said = trained(monkeypatch, capsys, healthy_folder, tmp_path / "m.safetensors", *reference)
    assert "(33%) and on 2 subjects of --reference" in said.err
    assert trained(monkeypatch, capsys, healthy_folder, tmp_path / "q.safetensors", "--quiet").err == ""
