"""tfsc.plot_runs on two small tables."""

import matplotlib.image
import pytest

from tfsc import plot_runs


@pytest.fixture
def runs(tmp_path):
    paths = [tmp_path / name for name in ("clr", "multistep")]
    for path, accuracy in zip(paths, (0.8, 0.6), strict=True):
        path.mkdir()
        table = f"epoch,step,val_accuracy\n1,10,0.5\n2,20,{accuracy}\n"
        (path / "metrics.csv").write_text(table)
    return paths


def test_two_runs_in_one_picture(runs, tmp_path, capsys):
    out = tmp_path / "out.png"
    plot_runs.main([*map(str, runs), "--over=step", "--log", f"--out={out}"])
    assert capsys.readouterr().out.splitlines() == [
        "clr: val_accuracy 0.8 after 20 steps",
        "multistep: val_accuracy 0.6 after 20 steps",
    ]
    assert matplotlib.image.imread(out).shape[:2] == (540, 900)


def test_what_is_missing_is_named(runs, tmp_path):
    with pytest.raises(SystemExit, match="must be one of epoch, step, val_accuracy"):
        plot_runs.main([str(runs[0]), "--column=loss", f"--out={tmp_path / 'out.png'}"])
    with pytest.raises(SystemExit, match=r"metrics\.csv: there is no such file"):
        plot_runs.main([str(tmp_path), f"--out={tmp_path / 'out.png'}"])
