"""Training: data, optimizers, the training step, the loop, and metrics.

A training step is one graph: forward pass, loss, gradients, and the optimizer's update, all recorded as operations. Read in
this order: ``optimizers``, ``schedules``, ``update``, ``step``, ``loop``; then ``feeds`` and ``data``, and ``metrics``.
"""

from tinygraph.train.archive import read_arrays
from tinygraph.train.callbacks import EarlyStopping, StopTraining
from tinygraph.train.checkpoint import Checkpoint
from tinygraph.train.data import Data, check_data, load_data
from tinygraph.train.evaluation import Evaluation
from tinygraph.train.history import History, Row
from tinygraph.train.loop import Progress, TrainingDiverged, TrainingInterrupted, fit
from tinygraph.train.measure import evaluate
from tinygraph.train.metrics import Metrics, accuracy, majority_class_baseline
from tinygraph.train.optimizers import SGD, Adam, AdamW, Optimizer, RMSprop, make_optimizer
from tinygraph.train.schedules import CosineDecay, Schedule, StepDecay
from tinygraph.train.step import initial_state, training_step
from tinygraph.train.update import update_equations
