"""The command line, as typed."""

import json
import subprocess
import sys

import pytest

import wdlab.claims as claims
from wdlab.cli import main


def small(name: str, measured: list[float]) -> claims.Claim:
    levels = {scale: claims.Level(len(measured), 0.1) for scale in claims.SCALES}
    return claims.Claim(
        name, f"{name} holds.", "ours", "points", lambda s: measured, "nothing", lambda s: [0, 0], levels
    )


@pytest.fixture
def two_claims(monkeypatch):
    found = {name: small(name, values) for name, values in (("good", [0.3, 0.31]), ("bad", [0.0, 0.01]))}
    monkeypatch.setattr(claims, "CLAIMS", found)


def test_reproduce_prints_the_table_and_fails_when_a_claim_does(two_claims, capsys) -> None:
    assert main(["reproduce", "--scale", "ci"]) == 1
    out, err = capsys.readouterr()
    head, good, bad = out.splitlines()[:3]
    assert all(word in head for word in ("claim", "effect", "95% interval", "seeds", "verdict", "control", "s"))
    assert "+0.305" in good and "supported" in good and "not supported" in bad
    assert "good holds." in out and err == ""


def test_reproduce_only_and_json(two_claims, tmp_path, capsys) -> None:
    target = tmp_path / "claims.json"
    assert main(["reproduce", "--only", "good", "--seed-offset", "5", "--json", str(target)]) == 0
    (told,) = json.loads(target.read_text())
    assert told["id"] == "good" and told["seeds"] == [5, 6] and told["scale"] == "demo" and told["holds"] is True


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["reproduce", "--only", "goood"], "did you mean 'good'"),
        (["reproduce", "--scale", "tiny"], "scale='tiny'"),
        (["reproduce", "--seed-offset", "-3"], "seed_offset=-3"),
        (["run", "--timing", "first:2"], "fraction=2"),
        (["run", "--timing", "frist:0.2"], "did you mean 'first'"),
        (["run", "--timing", "window:0.2"], "takes 2 numbers"),
        (["run", "--timing", "first:x"], "takes 1 numbers"),
        (["run", "--coupling", "l3"], "did you mean 'l2'"),
        (["run", "--lr", "-1"], "lr=-1"),
        (["run", "--weight-decay", "nan"], "weight_decay=nan"),
        (["run", "--task", "mnist"], "did you mean 'mnist1d'"),
        (["run", "--seeds", "0"], "seeds=0"),
        (["run", "--device", "tpu"], "device='tpu'"),
        (["run", "--device", "cpu:7"], "device='cpu:7' is not there"),
        (["reproduce", "--json", "no/such/folder/claims.json"], "no/such/folder"),
    ],
)
def test_wrong_words_are_answered_on_standard_error(two_claims, arguments, told, capsys) -> None:
    assert main(arguments) == 2
    err = capsys.readouterr().err
    assert told in err and "Traceback" not in err


def test_run_prints_one_row_a_seed(capsys) -> None:
    assert main(["run", "--width", "8", "--steps", "31", "--seeds", "2", "--timing", "window:0.1,0.5"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3 and "0.1 to 0.5" in lines[1] and "test_accuracy" in lines[0]
    assert lines[0].split()[-2:] == ["diverged_at", "broken_at"]


def test_list_names_claims_couplings_tasks_and_scales(capsys) -> None:
    assert main(["list"]) == 0
    out = capsys.readouterr().out
    assert all(word in out for word in ("early-beats-never", "decoupled", "mnist1d", "translation", "paper"))


def test_cache_tells_and_clears(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.setenv("WDLAB_CACHE", str(tmp_path))
    entry = tmp_path / "runs" / "ab" / "abc.safetensors"
    entry.parent.mkdir(parents=True)
    entry.write_bytes(b"x")
    assert main(["cache"]) == 0 and "1 runs" in capsys.readouterr().out
    assert main(["cache", "--clear"]) == 0 and "0 runs" in capsys.readouterr().out
    assert not entry.exists()


def test_help_needs_no_torch_and_the_module_runs() -> None:
    code = "import sys; from wdlab.cli import main\ntry: main(['--help'])\n"
    code += "except SystemExit: assert 'torch' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).returncode == 0
    told = subprocess.run([sys.executable, "-m", "wdlab", "--help"], capture_output=True, text=True)
    assert told.returncode == 0 and "reproduce" in told.stdout


SLOW = ("scipy.stats", "scipy.optimize", "torch._dynamo", "mnist1d", "num2words", "sacrebleu", "gymnasium")


def test_what_every_notebook_imports_and_calls_loads_nothing_that_few_need() -> None:
    code = "import sys, wdlab.claims, wdlab.exercises, wdlab.lab; from wdlab.lab.scores import spread\n"
    code += "wdlab.stats.interval([1, 2]); wdlab.stats.share([1, 2], [3, 4]); spread(1, 0.5)\n"
    code += f"print([name for name in {SLOW} if name in sys.modules])"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert told.stdout == "[]\n", told.stdout + told.stderr


def test_an_interrupt_is_not_a_traceback(two_claims, monkeypatch, capsys) -> None:
    def interrupted(*_: object) -> list[float]:
        raise KeyboardInterrupt

    monkeypatch.setitem(claims.CLAIMS, "good", small("good", [1, 1]).__class__("good", "s.", "o", "u", interrupted, "c",
                        interrupted, {s: claims.Level(2, 0.1) for s in claims.SCALES}))  # fmt: skip
    assert main(["reproduce", "--only", "good"]) == 130
    assert "goes on from there" in capsys.readouterr().err
