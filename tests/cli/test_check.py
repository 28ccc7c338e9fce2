"""``tinygraph check``."""

import re
from pathlib import Path

from tests.tools.commands import CUSTOM


def test_check_prints_a_report_and_ends_with_zero(run):
    result = run("check", "xor")
    assert result.exit_code == 0
    assert "all gradients: worst relative error" in result.stdout


def test_check_takes_data_batch_size_and_seed(run):
    result = run("check", "xor", "--data", "xor", "--batch-size", 3, "--seed", 7)
    assert result.exit_code == 0
    assert "6 of 6" in result.stdout
    assert run("check", "xor", "--batch-size", 3, "--seed", 7).stdout != run("check", "xor", "--seed", 8).stdout


def test_check_ends_with_one_where_a_rule_is_wrong(run, own):
    model, ops = own
    assert run("check", model, "--ops", ops).exit_code == 0
    Path("liar.py").write_text(CUSTOM.replace("FACTOR", "2"), encoding="utf-8")
    result = run("check", model, "--ops", "liar.py")
    assert result.exit_code == 1
    assert re.search(r"soft_plus .* wrong$", result.stdout, re.MULTILINE)
