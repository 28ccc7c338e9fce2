"""The command line: ``tinygraph COMMAND``. The module of a command is imported when that command is named."""

import click

from tinygraph import __version__
from tinygraph.cli.group import Commands

# The commands, each with its module and its short help, in the order in which a user needs them.
COMMANDS = {
    "new": ("new", "Write a model file to start from."),
    "train": ("train", "Train a model on data."),
    "evaluate": ("evaluate", "Measure how good trained weights are."),
    "predict": ("predict", "Compute outputs with trained weights."),
    "equations": ("equations", "Print a model's equations, forward and backward."),
    "explain": ("explain", "Explain where one number of a model comes from."),
    "draw": ("draw", "Draw a model."),
    "notes": ("notes", "Write the lecture notes of a model."),
    "check": ("proof", "Check every gradient of a model."),
    "certify": ("proof", "Test operations of your own."),
    "import": ("onnx", "Write an ONNX file as a model file and weights."),
    "export": ("onnx", "Write a model as an ONNX file or a model file."),
    "plan": ("plan", "Show how a model is computed: steps, memory, times."),
    "ops": ("ops", "List the operations, or explain one."),
    "doctor": ("doctor", "Say what is installed and what is missing."),
}


@click.group(
    cls=Commands, table=COMMANDS, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.version_option(__version__, message="tinygraph %(version)s")
def main() -> None:
    """Models as equations: train them, draw them, and see their gradients.

    MODEL is a TOML or an ONNX file, or the name of a bundled model: notes_cnn, notes_cnn_28, notes_ann, lenet5, xor,
    residual, notes_cnn_norm.

    \b
    Begin with:                tinygraph train notes_cnn
    For a model of your own:   tinygraph new NAME
    """
