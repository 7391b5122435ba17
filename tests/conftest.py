"""One torch thread for every test: the bits of a result depend on the number, and tests share the cores."""

import optuna
import torch

torch.set_num_threads(1)
optuna.logging.set_verbosity(optuna.logging.WARNING)
