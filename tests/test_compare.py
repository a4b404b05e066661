"""tfsc.compare on repeats whose numbers can be checked by hand."""

import json

import matplotlib.image
import pandas as pd
import pytest
from scipy import stats

from tfsc import compare


@pytest.fixture
def write(tmp_path):
    def write(name, accuracies, diverged=(), **recipe):
        rows = [
            {
                "seed": seed,
                "status": "done",
                "final_val_accuracy": x,
                "export_tta_accuracy": x + 0.01,
            }
            for seed, x in enumerate(accuracies)
        ]
        rows += [{"seed": seed, "status": "diverged"} for seed in diverged]
        (tmp_path / name).mkdir()
        content = {"recipe": {"epochs": "5", "export": "true", **recipe}, "runs": rows}
        (tmp_path / name / "repeat.json").write_text(json.dumps(content))
        return str(tmp_path / name)

    return write


def test_differences_have_the_pooled_interval(write, tmp_path, capsys):
    base = write("base", [0.90, 0.91, 0.92])
    other = write("no-flip", [0.86, 0.90], diverged=[2], export="false")
    compare.main([base, other, f"--out={tmp_path / 'table'}"])
    # s² = (2·0.01² + 1·0.0008)/3, ν = 3; ½(0.86 + 0.90) − 0.91 = −0.03
    half = stats.t.ppf(0.975, 3) * ((2e-4 + 8e-4) / 3) ** 0.5 * (1 / 3 + 1 / 2) ** 0.5
    assert capsys.readouterr().out.splitlines() == [
        "no-flip: seeds [2] are not done and count nowhere",
        "| | final_val_accuracy | n | difference | changed |",
        "|---|---|---|---|---|",
        "| base | 0.9100 ± 0.0100 | 3 |  |  |",
        f"| no-flip | 0.8800 ± 0.0283 | 2 | -0.0300 ± {half:.4f} | `--export=false` |",
        "",
    ]
    table = pd.read_csv(tmp_path / "table.csv")
    assert table["recipe"].tolist() == ["base", "no-flip"]
    assert table["half_width_95"][1] == pytest.approx(half)
    assert table[["min", "max"]].values.tolist() == [[0.90, 0.92], [0.86, 0.90]]
    assert matplotlib.image.imread(tmp_path / "table.png").shape[:2] == (540, 900)


def test_single_runs_have_no_interval(write, tmp_path, capsys):
    runs = [write("a", [0.9]), write("b", [0.8], epochs="6")]
    compare.main([*runs, f"--out={tmp_path / 'table'}"])
    assert "| b | 0.8000 | 1 | -0.1000 | `--epochs=6` |" in capsys.readouterr().out


def test_a_flag_that_a_record_of_before_does_not_have_had_todays_default(write, tmp_path, capsys):
    runs = [
        write("a", [0.9]),
        write("b", [0.8], wd_factors=""),
        write("c", [0.8], wd_factors="bias:2"),
    ]
    compare.main([*runs, f"--out={tmp_path / 'table'}"])
    _, _, _, b, c, _ = capsys.readouterr().out.splitlines()
    assert b == "| b | 0.8000 | 1 | -0.1000 |  |"
    assert c.endswith("| `--wd_factors=bias:2` |")


def test_a_record_of_before_native_had_nothing_in_cpp_but_what_it_says(write, tmp_path, capsys):
    runs = [
        write("a", [0.9]),
        write("b", [0.8], winograd="off", fused_norm="off", fused_augment="off"),
        write("c", [0.8], native="off"),
        write("d", [0.8], native="auto"),
        write("e", [0.8], winograd="auto", precision="bf16"),
    ]
    compare.main([*runs, f"--out={tmp_path / 'table'}"])
    changed = [line.split(" | ")[-1] for line in capsys.readouterr().out.splitlines()[3:7]]
    assert changed == [
        " |",
        " |",
        "`--native=auto` |",
        "`--precision=bf16 --native=auto --bf16_winograd=true` |",
    ]


def test_a_record_of_before_component_texts_is_read_as_what_it_says_now(write, tmp_path, capsys):
    before = {"whiten_images": "5000", "identity_init": "true", "logit_scale": "0.1111111111111111"}
    resnets = [write("a", [0.9], **before, model="wide_resnet")]
    resnets += [write("b", [0.8], model="wide_resnet([6,6,6],width=1)", input="center")]
    compare.main([*resnets, f"--out={tmp_path / 'table'}"])
    assert "| b | 0.8000 | 1 | -0.1000 |  |" in capsys.readouterr().out
    airbenches = [write("c", [0.9], **before | {"whiten_images": "0"}, model="airbench")]
    airbenches += [write("d", [0.8], **before, model="airbench")]
    compare.main([*airbenches, f"--out={tmp_path / 'table'}"])
    assert "| `--input=center whiten` |" in capsys.readouterr().out


def test_several_columns_over_a_number_of_the_recipe(write, tmp_path, capsys, monkeypatch):
    runs = [write("long", [0.92, 0.93], epochs="10"), write("short", [0.8, 0.82], epochs="3")]
    drawn = []
    real = compare.draw_over
    monkeypatch.setattr(
        compare, "draw_over", lambda axes, *rest: (real(axes, *rest), drawn.append(axes))
    )
    columns = "final_val_accuracy,export_tta_accuracy"
    out = tmp_path / "new" / "budget"
    compare.main([*runs, "--over=epochs", f"--column={columns}", f"--out={out}"])
    lines = [line for line in drawn[0].lines if line.get_linestyle() == "-"]
    points = [[line.get_xdata().tolist(), line.get_ydata().tolist()] for line in lines]
    means = [[0.81, 0.925], [0.82, 0.935]]
    assert points == [[[3, 10], pytest.approx(mean)] for mean in means]
    assert len(pd.read_csv(f"{out}.csv")) == 4
    assert "export_tta_accuracy" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--column=loss"], "--column=loss: must be one of seed, status, final_val_accuracy, "),
        (
            ["--over=export"],
            "--over=export: must be a number of each recipe. Received: true in base",
        ),
        (["--over=nothing"], "--over=nothing: must be a number .* Received: None"),
        (["--column=a,b"], "--column=a,b: must be one column without --over"),
    ],
)
def test_bad_flags_are_one_line(write, tmp_path, flags, message):
    base = write("base", [0.9, 0.91])
    with pytest.raises(SystemExit, match=f"tfsc.compare: {message}"):
        compare.main([base, *flags, f"--out={tmp_path / 'out'}"])
    assert not (tmp_path / "out.csv").exists()


def test_a_directory_without_repeats_is_named(tmp_path):
    with pytest.raises(SystemExit, match=r"repeat\.json: must be of tfsc\.repeat"):
        compare.main([str(tmp_path), f"--out={tmp_path / 'out'}"])
