"""The command line: ``tinygraph COMMAND``.

Importing it loads the commands with their options, and neither NumPy nor a room: a command imports what it needs when it
runs, so that ``--help`` and ``--version`` are quick.
"""

import click

from tinygraph import __version__
from tinygraph.cli import certify, check, doctor, draw, equations, exchange, notes, ops, plan, predict, train
from tinygraph.cli.group import Commands


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, message="tinygraph %(version)s")
def main() -> None:
    """Models as equations: train them, draw them, and see their gradients.

    MODEL is a TOML or an ONNX file, or the name of a bundled model: notes_cnn, notes_cnn_28, notes_ann, lenet5, xor,
    residual, notes_cnn_norm.

    Begin with: tinygraph train notes_cnn
    """


for command in (
    train.train,
    predict.predict,
    equations.equations,
    draw.draw,
    notes.notes,
    check.check,
    certify.certify,
    exchange.import_,
    exchange.export,
    plan.plan,
    ops.ops,
    doctor.doctor,
):
    main.add_command(command)
