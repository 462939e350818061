"""Numbers that the options leave open follow from the scans."""

from vae_loc.training.training_options import TrainingOptions, short_epochs


def test_the_short_schedule_makes_about_its_number_of_steps():
    assert short_epochs(10_696, 64) == 5
    assert short_epochs(64, 64) == 850
    assert short_epochs(10_696, 64, steps=1700) == 10
    assert short_epochs(10**9, 64) == 1


def test_epochs_and_coarse_noise_are_those_of_the_schedule_and_the_scans():
    real, made = TrainingOptions(), TrainingOptions(contrast="t2", synthesize_from="t1")
    assert (real.real_contrast, made.real_contrast) == ("t1", "t1")
    assert (real.epochs_of(640), made.epochs_of(640)) == (85, 170)
    assert (real.noise_sd, made.noise_sd) == (3.0, 0.0)
    assert TrainingOptions(schedule="plateau").epochs_of(640) == 300


def test_what_is_asked_for_comes_first():
    assert TrainingOptions(epochs=7, schedule="plateau").epochs_of(640) == 7
    assert TrainingOptions(coarse_noise_sd=0.0).noise_sd == 0
    assert TrainingOptions(contrast="t2", synthesize_from="t1", coarse_noise_sd=1.5).noise_sd == 1.5
