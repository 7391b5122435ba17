"""Mistakes in a task or a study file: what is said of each, with the file and the line of the mistake.

Each case is the end of a study file. The line that must be named bears `# HERE`.
"""

from __future__ import annotations

import itertools
import json
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import optuna
import pytest

from hpo.checking.preflight import Preflight, preflight
from hpo.engine.evaluation import judge_baselines
from hpo.errors import ContractError, Refused, SweepFailed, origin, says_enough
from hpo.search.sweep import sweep
from hpo.seeds import generator
from hpo.space import choose, contains, describe, integer, suggest
from hpo.storage.folder import RunFolder
from hpo.study import StudySpec
from hpo.trial.artifact import card_of, rebuild
from hpo.trial.provenance import identity
from hpo.trial.weights import packed
from hpo.verbs.load import load_study

HEAD = """from dataclasses import dataclass, field, replace
from enum import Enum, StrEnum
from pathlib import Path
from typing import Any, ClassVar, NamedTuple
import numpy as np
import torch
from torch import nn
from hpo import Overfit, Recipe, StudySpec, Task, choose, integer, log, uniform, when
from tests.toy import Batch, Toy, study as toy
"""
FRESH = itertools.count()  # a module of one name is imported once in a process
IDENTITY = {"code": "as it is"}


@pytest.fixture
def tmp_path(memory_disk: Path) -> Path:
    return Path(tempfile.mkdtemp(dir=memory_disk))


def write(folder: Path, text: str) -> Path:
    path = folder / f"mistaken_{next(FRESH)}.py"
    path.write_text(HEAD + text)
    return path


def place(path: Path) -> str:
    """file:line of the mistake."""
    lines = path.read_text().splitlines()
    return f"{path}:{next(number for number, line in enumerate(lines, 1) if line.endswith('# HERE'))}"


# -- what a method returns -------------------------------------------------------------------------------------------
RETURNED = {  # the body of a task -> what is said
    "a float as score": (
        """
    def score(self, model, batch):  # HERE
        return 0.5
""",
        'Wrong.score must return columns by name with one row an example, such as {"error": wrong_B}; got 0.5, whi',
    ),
    "no score": (
        """
    def score(self, model, batch):  # HERE
        super().score(model, batch)
""",
        "Wrong.score must return columns by name with one row an example",
    ),
    "a mean as column": (
        """
    def score(self, model, batch):  # HERE
        return {"mse": (model(batch.x_BI) - batch.y_BO).square().mean()}
""",
        "Wrong.score must give columns with a row for each of the 16 examples; 'mse' is a Tensor of shape ()",
    ),
    "a number as column": (
        """
    def score(self, model, batch):  # HERE
        return {**super().score(model, batch), "count": 16}
""",
        "Wrong.score must give columns with a row for each of the 16 examples; 'count' is 16, which is of type int",
    ),
    "no column for the goal": (
        """
    goal = "error"
    metrics = Task.metrics
    overfit = Overfit(go=0.05, caution=0.3, samples=16, epochs=2)
    def score(self, model, batch):  # HERE
        return {"mse": (model(batch.x_BI) - batch.y_BO).square().mean(1)}
""",
        "Wrong.score must give a column for the goal 'error', or metrics() must make that score; got ['mse']",
    ),
    "no goal among the metrics": (
        """
    goal = "error"
    overfit = Overfit(go=0.05, caution=0.3, samples=16, epochs=2)
    def metrics(self, columns):  # HERE
        return {"mse": columns["mse"].mean()}
""",
        "Wrong.metrics must contain the goal 'error'; got ['mse']",
    ),
    "a float as metrics": (
        """
    def metrics(self, columns):  # HERE
        return columns["mse"].mean().item()
""",
        'Wrong.metrics must return scores by name, such as {"rmse": 0.5}; got ',
    ),
    "a metric of None": (
        """
    def metrics(self, columns):  # HERE
        return {"mse": columns["mse"].mean(), "spread": None}
""",
        "Wrong.metrics returned the score 'spread', which must be a number; got None",
    ),
    "a column as metric": (
        """
    def metrics(self, columns):  # HERE
        return {"mse": columns["mse"]}
""",
        "Wrong.metrics returned the score 'mse', which must be a number; got a Tensor of shape (",
    ),
    "a cluster that is no field": (
        """
    cluster = "patient_B"
    def batches(self, split, fidelity, batch_size, rng):  # HERE
        return super().batches(split, fidelity, batch_size, rng)
""",
        "Wrong.batches must yield the field 'patient_B', its cluster; got ['x_BI', 'y_BO']",
    ),
    "no model": (
        """
    def model(self):  # HERE
        nn.Linear(6, 2)
""",
        "Wrong.model must return an nn.Module; got None (is a `return` missing?)",
    ),
    "a class of model": (
        """
    def model(self):  # HERE
        return nn.Linear
""",
        "Wrong.model must return an nn.Module; got the class Linear instead of a value of it",
    ),
    "a function as model": (
        """
    def model(self):  # HERE
        return torch.relu
""",
        "Wrong.model must return an nn.Module; got <built-in",
    ),
    "no batches": (
        """
    def batches(self, split, fidelity, batch_size, rng):  # HERE
        list(super().batches(split, fidelity, batch_size, rng))
""",
        "Wrong.batches must yield batches; got None (is a `return` missing?)",
    ),
    "tuples as batches": (
        """
    def batches(self, split, fidelity, batch_size, rng):
        for x_BI, y_BO in super().batches(split, fidelity, batch_size, rng):
            yield x_BI, y_BO  # HERE
""",
        "Wrong.batches must yield NamedTuples of tensors, such as Batch(x, y)",
    ),
    "dicts as batches": (
        """
    def batches(self, split, fidelity, batch_size, rng):
        for batch in super().batches(split, fidelity, batch_size, rng):
            yield batch._asdict()  # HERE
""",
        "which is of type dict",
    ),
    "lists as batches": (
        """
    def batches(self, split, fidelity, batch_size, rng):  # HERE
        return iter([list(batch) for batch in super().batches(split, fidelity, batch_size, rng)])
""",
        "which is of type list",
    ),
    "one batch instead of an iterator": (
        """
    def batches(self, split, fidelity, batch_size, rng):  # HERE
        return next(super().batches(split, fidelity, batch_size, rng))
""",
        "Wrong.batches must yield NamedTuples of tensors, such as Batch(x, y) with `class Batch(NamedTuple)`; "
        "got a Tensor of shape",
    ),
    "fields of unequal length": (
        """
    def batches(self, split, fidelity, batch_size, rng):
        for batch in super().batches(split, fidelity, batch_size, rng):
            yield Batch(batch.x_BI, batch.y_BO[1:])  # HERE
""",
        "Wrong.batches yields a batch that cannot be used: y_BO must be a tensor whose first dimension is the",
    ),
    "no examples": (
        """
    def batches(self, split, fidelity, batch_size, rng):
        for _ in super().batches(split, fidelity, batch_size, rng):
            yield Batch(None, 0.5)  # HERE
""",
        "Wrong.batches yields a batch that cannot be used: a batch needs a tensor or a list with one item for each e",
    ),
    "a tensor as loss": (
        """
    def loss(self, model, batch, at):  # HERE
        return (model(batch.x_BI) - batch.y_BO).square().mean()
""",
        'Wrong.loss must return a dict of scalar tensors by name, such as {"mse": loss}; got a Tensor of shape ()',
    ),
    "no loss": (
        """
    def loss(self, model, batch, at):  # HERE
        super().loss(model, batch, at)
""",
        'Wrong.loss must return a dict of scalar tensors by name, such as {"mse": loss}; got None',
    ),
    "a loss without terms": (
        """
    def loss(self, model, batch, at):  # HERE
        return {}
""",
        "Wrong.loss must return a dict of scalar tensors by name",
    ),
    "a term for each example": (
        """
    def loss(self, model, batch, at):  # HERE
        return {"mse": (model(batch.x_BI) - batch.y_BO).square().mean(1)}
""",
        "Wrong.loss returned the term 'mse', which must be a scalar; got a Tensor of shape (16,)",
    ),
    "a term that is no number": (
        """
    def loss(self, model, batch, at):  # HERE
        return {**super().loss(model, batch, at), "prior": None}
""",
        "Wrong.loss returned the term 'prior', which must be a scalar tensor; got None",
    ),
    "a term whose name is a number": (
        """
    def loss(self, model, batch, at):  # HERE
        return {float("nan"): super().loss(model, batch, at)["mse"]}
""",
        "Wrong.loss must name each term by a string; got nan, which is of type float",
    ),
    "a loss without gradient": (
        """
    def loss(self, model, batch, at):  # HERE
        return {name: term.detach() for name, term in super().loss(model, batch, at).items()}
""",
        "Wrong.loss must return a term that depends on parameters that are being trained",
    ),
    "a loss of plain numbers": (
        """
    def loss(self, model, batch, at):  # HERE
        return {name: term.item() for name, term in super().loss(model, batch, at).items()}
""",
        "Wrong.loss must return a term that depends on parameters that are being trained",
    ),
    "a list as groups": (
        """
    def groups(self, model):  # HERE
        return list(model.parameters())
""",
        'Wrong.groups must return lists of parameters by name, such as {"all": list(model.parameters())}; got [',
    ),
    "named parameters in a group": (
        """
    def groups(self, model):  # HERE
        return {"all": list(model.named_parameters())}
""",
        "got 'all' with ('map.weight', ",
    ),
    "a module as group": (
        """
    def groups(self, model):  # HERE
        return {"all": model.map}
""",
        "got 'all': Linear(",
    ),
    "a parameter that is in no group": (
        """
    def groups(self, model):  # HERE
        return {"all": [model.map.bias]}
""",
        "Wrong.groups must hold every trainable parameter exactly once; wrong for ['map.weight']",
    ),
    "a rate for no group": (
        """
    def rates(self, at):  # HERE
        return {"al": 1.0}
""",
        "Wrong.rates names no group: ['al']; groups: ['all']",
    ),
    "a tensor as rate": (
        """
    def rates(self, at):  # HERE
        return {"all": torch.ones(2)}
""",
        "Wrong.rates must give 'all' a finite number of at least 0, or Held of one; got a Tensor of shape (2,)",
    ),
    "a negative rate": (
        """
    def rates(self, at):  # HERE
        return {"all": -0.5}
""",
        "Wrong.rates must give 'all' a finite number of at least 0, or Held of one; got -0.5",
    ),
    "a number as rates": (
        """
    def rates(self, at):  # HERE
        return 0.5
""",
        'Wrong.rates must return factors by the name of a group, such as {"all": 1.0}; got 0.5',
    ),
}


BRIEF = """
study = replace(toy, task=Wrong(), space={"recipe.lr": log(1e-3, 0.3)}, cheap=toy.smoke, pruning=None, trials=1)
"""


def mistaken(body: str, folder: Path) -> tuple[StudySpec, str]:
    """The study of a task with this body, and the place of the mistake."""
    path = write(folder, f"class Wrong(Toy):{body}\n{BRIEF}")
    return load_study(path), place(path)


@pytest.mark.parametrize("case", RETURNED)
def test_preflight_names_what_a_method_returned_and_its_line(case: str, tmp_path: Path) -> None:
    body, said = RETURNED[case]
    study, at = mistaken(body, tmp_path)
    result = preflight(study, RunFolder(tmp_path / "run"), IDENTITY)
    check = next(check for check in failed(result) if check.look_at == at)
    assert said in check.seen
    assert at in check.seen
    assert not [check for check in result.checks if "OverfitSet" in check.seen], "a task that the user does not know"


@pytest.mark.parametrize("case", RETURNED)
def test_a_sweep_names_what_a_method_returned_and_its_line(case: str, tmp_path: Path) -> None:
    body, said = RETURNED[case]
    study, at = mistaken(body, tmp_path)
    with pytest.raises(SweepFailed) as error:
        sweep(study, RunFolder(tmp_path / "run"), IDENTITY, device="cpu")
    assert said in error.value.sentence
    assert at in error.value.sentence


def failed(result: Preflight):
    return [check for check in result.checks if check.status == "no-go"]


@pytest.mark.parametrize("case", ["no batches", "tuples as batches", "dicts as batches"])
def test_batches_that_cannot_be_hashed_are_named_before_anything_runs(case: str, tmp_path: Path) -> None:
    body, said = RETURNED[case]
    study, at = mistaken(body, tmp_path)
    with pytest.raises(ContractError) as error:
        identity(study)
    assert said in str(error.value)
    assert at in str(error.value)
    assert says_enough(error.value)


@pytest.mark.parametrize(("returned", "said"), [("None", "got None"), ("['sound']", "got 'sound', which is of type")])
def test_checks_of_a_task_that_are_no_checks_are_named(returned: str, said: str, tmp_path: Path) -> None:
    body = f"\n    def checks(self, evidence):  # HERE\n        return {returned}\n"
    study, at = mistaken(body, tmp_path)
    result = preflight(study, RunFolder(tmp_path / "run"), IDENTITY)
    check = next(check for check in failed(result) if check.name == "the task's checks")
    assert "Wrong.checks must return a list of Check" in check.seen
    assert said in check.seen
    assert at in check.seen


@pytest.mark.parametrize(
    ("returned", "said"),
    [
        ("{'zero': {'mse': 1.0}}", "must return functions from a batch to columns, by name; got 'zero': {'mse': 1.0}"),
        ("None", "must return functions from a batch to columns, by name; got None"),
        ("{'zero': lambda batch: 0.5}", "(zero) must return columns by name with one row an example"),
    ],
)
def test_baselines_that_are_no_functions_to_columns_are_named(returned: str, said: str, tmp_path: Path) -> None:
    study, at = mistaken(f"\n    def baselines(self, fidelity):  # HERE\n        return {returned}\n", tmp_path)
    with pytest.raises(ContractError) as error:
        judge_baselines(study.task, study.smoke, study.task.batches("val", study.smoke, 16, generator("test")))
    assert said in str(error.value)
    assert at in str(error.value)


def test_the_measure_of_the_overfit_check_must_be_a_score(tmp_path: Path) -> None:
    body = """
    overfit = Overfit(go=0.05, caution=0.3, measure="accuracy", samples=16, epochs=2)
    metrics = Task.metrics
    def score(self, model, batch):  # HERE
        return super().score(model, batch)
"""
    study, at = mistaken(body, tmp_path)
    first = failed(preflight(study, RunFolder(tmp_path / "run"), IDENTITY))[0]
    assert "Wrong.score must give a column for the measure of the overfit check 'accuracy'" in first.seen
    assert at in first.seen


def test_a_term_that_is_switched_off_may_be_a_plain_number(tmp_path: Path) -> None:
    body = """
    def loss(self, model, batch, at):
        return {**super().loss(model, batch, at), "prior": 0.0, "count": 2}
"""
    path = write(tmp_path, f"class Right(Toy):{body}\nstudy = replace(toy, task=Right(), trials=1)\n")
    assert sweep(load_study(path), RunFolder(tmp_path / "run"), IDENTITY, device="cpu").complete == 1


# -- what a class declares -------------------------------------------------------------------------------------------
TASK = """
class Silent(Task[Batch]):
    batches, model, loss, score = Toy.batches, Toy.model, Toy.loss, Toy.score
"""
DECLARATIONS = {
    "goal": '"mse"',
    "direction": '"minimize"',
    "size_unit": '"inputs"',
    "inputs": '("x_BI",)',
    "labels": '("y_BO",)',
    "overfit": "Overfit(go=0.05, caution=0.3)",
}
MUST_BE = {
    "goal": "the name of the score that is optimised",
    "direction": "'minimize' or 'maximize'",
    "inputs": "a tuple of names of batch fields",
    "labels": "a tuple of names of batch fields",
}


def silent_about(name: str) -> str:
    """A task that declares all but this."""
    lines = "".join(f"    {key} = {value}\n" for key, value in DECLARATIONS.items() if key != name)
    return f"{TASK}@dataclass(frozen=True)  # HERE\nclass Mine(Silent):\n    width: int = 3\n{lines}"


CLASSES = {  # the class -> what is said
    "no dataclass at all": (
        f"{TASK}class Mine(Silent):  # HERE\n    width: int = 3\n",
        "task: Mine must be a dataclass; write @dataclass(frozen=True) above its class",
    ),
    "a subclass without dataclass": (
        "class Mine(Toy):  # HERE\n    depth: int = 3\n",
        "task: Mine adds 'depth' and is no dataclass; write @dataclass(frozen=True) above it",
    ),
    "a class between without dataclass": (
        "class Wide(Toy):  # HERE\n    depth: int = 3\n@dataclass(frozen=True)\nclass Mine(Wide):\n    more: int = 3\n",
        "task: Wide adds 'depth' and is no dataclass",
    ),
    "a default without its type": (
        "class Mine(Toy):  # HERE\n    shift = 0.5\n",
        "task: Mine sets 'shift' without a type, which changes no field; write `shift: TYPE = ...`",
    ),
    "inputs without a comma": (
        "class Mine(Toy):  # HERE\n    inputs = ('x_BI')\n",
        "task.inputs: must be a tuple of names of batch fields, such as (\"x\",); got 'x_BI', which is of type str",
    ),
    "a goal that is a function": (
        "class Mine(Toy):  # HERE\n    goal = max\n",
        "task.goal: must be the name of the score that is optimised",
    ),
    "bands that are numbers": (
        "class Mine(Toy):  # HERE\n    overfit = (0.05, 0.3)\n",
        "task.overfit: must be an Overfit, such as Overfit(go=0.05, caution=0.15); got (0.05, 0.3)",
    ),
    "a field named as a method": (
        "@dataclass(frozen=True)  # HERE\nclass Mine(Toy):\n    loss: str = 'l1'\n",
        "task.loss: Mine has a field with the name of the method loss(); rename the field",
    ),
    "a field beside the method of its name": (
        "@dataclass(frozen=True)  # HERE\nclass Mine(Toy):\n    loss: str = 'l1'\n    loss = Toy.loss\n",
        "task.loss: Mine has a field with the name of the method loss(); rename the field",
    ),
    "a field named as what Task declares": (
        "@dataclass(frozen=True)  # HERE\nclass Mine(Toy):\n    goal: str = 'mse'\n",
        "task.goal: Mine has a field with the name of what Task declares; write `goal = ...` without a type",
    ),
    **{f"no {name}": (silent_about(name), f"task.{name}: must be {allowed}") for name, allowed in MUST_BE.items()},
}


@pytest.mark.parametrize("case", CLASSES)
def test_what_a_class_declares_is_looked_at_when_the_study_is_loaded(case: str, tmp_path: Path) -> None:
    text, said = CLASSES[case]
    path = write(tmp_path, f"{text}study = replace(toy, task=Mine())\n")
    with pytest.raises(Refused) as error:
        load_study(path)
    assert said in str(error.value)
    assert place(path) in str(error.value)


NOT_KEPT = {  # a field -> the type of its value, and what may be used instead
    "sizes: list = field(default_factory=lambda: [8, 8])": ("list", "use a plain tuple"),
    "sizes: tuple = ([8], [8])": ("tuple", "use a plain tuple"),
    "sizes: frozenset = frozenset({8})": ("frozenset", "use a plain tuple"),
    "mode: Enum = Enum('Mode', 'FAST').FAST": ("Mode", "use its value"),
    "mode: StrEnum = StrEnum('Mode', 'FAST').FAST": ("Mode", "use its value"),
    "act: Any = lambda x: x": ("function", "use a name"),
    "act: Any = nn.ReLU": ("type", "use a name"),
    "act: Any = field(default_factory=nn.ReLU)": ("ReLU", "use a name"),
    "by: dict = field(default_factory=lambda: {1: 2})": ("dict", "keys must be strings"),
    "where: Path = Path('x')": ("PosixPath", "use a string"),
    "far: float = float('inf')": ("float", "use a finite number"),
    "weights: Any = field(default_factory=lambda: np.ones(2))": ("ndarray", "make it in model()"),
    "weights: Any = field(default_factory=lambda: torch.ones(2))": ("Tensor", "make it in model()"),
    "recipe: Any = Recipe()": ("Recipe", "make its fields fields of the task"),
    "batch: Any = field(default_factory=lambda: Batch(1, 2))": ("Batch", "use a plain tuple"),
    "size: Any = np.int64(3)": ("int64", "use value.item()"),
    "mark: Any = field(default_factory=object)": ("object", "use numbers, strings"),
}


@pytest.mark.parametrize("line", NOT_KEPT)
def test_a_field_that_json_does_not_bring_back_is_named_when_the_study_is_loaded(line: str, tmp_path: Path) -> None:
    """A winner is rebuilt from JSON: the fault came up after all training."""
    kind, advice = NOT_KEPT[line]
    text = f"@dataclass(frozen=True)  # HERE\nclass Mine(Toy):\n    {line}\nstudy = replace(toy, task=Mine())\n"
    path = write(tmp_path, text)
    with pytest.raises(Refused) as error:
        load_study(path)
    name = line.partition(":")[0]
    said = str(error.value)
    assert f"task.{name}: Mine has a value of type {kind} there, which does not come back from JSON as it was" in said
    assert advice in said
    assert place(path) in said


KEPT = """
class Outer:
    @dataclass(frozen=True)
    class Mine(Toy):
        sizes: tuple = (8, (8, 16), "x")
        names: dict = field(default_factory=lambda: {"a": 1, "b": (2.5, None, True)})
        gain: float = np.float64(0.25)
        area: list = field(init=False)

        def __post_init__(self):
            object.__setattr__(self, "area", [len(self.sizes), object()])

study = replace(toy, task=Outer.Mine(), space={"task.gain": uniform(0, 1)})
"""


def test_fields_that_json_brings_back_make_the_same_task_and_computed_ones_are_left_out(tmp_path: Path) -> None:
    study = load_study(write(tmp_path, KEPT))
    card = card_of(study.task)
    assert "area" not in card["fields"]
    rebuilt = rebuild(json.loads(json.dumps(card)), packed(study.task.model().state_dict())).task
    assert (rebuilt.sizes, rebuilt.names, rebuilt.gain) == (study.task.sizes, study.task.names, 0.25)
    assert rebuilt.area[0] == 3
    assert identity(study) == identity(replace(study, task=type(study.task)())), "and no identity rests on them"


def test_a_task_that_is_defined_in_a_function_is_a_no_go(tmp_path: Path) -> None:
    text = """
def made():
    @dataclass(frozen=True)  # HERE
    class Mine(Toy):
        depth: int = 1
    return Mine()

study = replace(toy, task=made())
"""
    path = write(tmp_path, text)
    with pytest.raises(ContractError, match="Mine is defined in a function") as error:
        card_of(load_study(path).task)
    assert place(path) in str(error.value)


# -- the space -------------------------------------------------------------------------------------------------------
MINE = """
class Mode(StrEnum):
    FAST = "fast"
    SLOW = "slow"

@dataclass(frozen=True)
class Mine(Toy):
    layers: int = 2
    mode: str = "fast"
    heads: int = 4
    µ: float = 0.5
    area: int = field(init=False, default=3)
    ratio: ClassVar[float] = 0.5
    depth = 3
"""
SPACES = {  # the space -> what is said
    '{"task.loss": uniform(0, 1)}': "unknown hyperparameter 'task.loss': Mine.loss is a method, and only fields can be",
    '{"task.ratio": uniform(0, 1)}': "Mine.ratio is no field, and only fields can be searched",
    '{"task.depth": integer(1, 4)}': "Mine.depth is no field, and only fields can be searched; a field has a type: `de",
    '{"task.goal": choose("mse")}': "Mine.goal is no field",
    '{"task.area": integer(1, 4)}': "Mine.area is computed (init=False), and only what is given can be searched",
    '{"task.\\u00b5": uniform(0, 1)}': r", which is 'task.\xb5'; Python calls that field 'task.\u03bc': write it so",
    '{"task.mode": choose(Mode.FAST, Mode.SLOW)}': "as a member of an enumeration; write 'fast' instead of <Mode.",
    '{"task.mode": choose(["fast", "slow"])}': "to choose among its items, write choose(*...)",
    '{"task.layers": integer(1, 4), "task.heads": when("task.layers", 5, choose(2, 4))}': "task.layers = 5 can never "
    "hold; allowed: integer(1, 4, step=1)",
    '{"task.shift": uniform(-1, 1), "task.heads": when("task.shift", 0.0, choose(2, 4))}': "which is searched by "
    "uniform(-1.0, 1.0) and hardly ever takes 0.0; use choose or integer there",
}


@pytest.mark.parametrize("space", SPACES)
def test_a_space_that_names_no_field_or_holds_no_plain_values_is_refused(space: str, tmp_path: Path) -> None:
    path = write(tmp_path, f"{MINE}study = replace(toy, task=Mine(), space={space})  # HERE\n")
    with pytest.raises(Refused) as error:
        load_study(path)
    assert SPACES[space] in str(error.value)
    assert str(error.value).startswith(f"{place(path)}: ")


def test_a_condition_may_name_a_whole_number_and_numbers_of_numpy_are_plain_ones(tmp_path: Path) -> None:
    space = """{
    "task.layers": integer(np.int64(1), 4),
    "task.heads": when("task.layers", np.int64(2), choose(2, 4)),
    "task.shift": choose(*np.linspace(0, 1, 3)),
    "task.dropout": uniform(*np.array([0.0, 0.5], dtype=np.float32)),
    "recipe.lr": log(*np.array([1e-3, 0.3])),
}"""
    study = load_study(write(tmp_path, f"{MINE}study = replace(toy, task=Mine(), space={space})\n"))
    assert describe(study.space["task.shift"]) == "choose(0.0, 0.5, 1.0)"
    assert describe(study.space["recipe.lr"]) == "log(0.001, 0.3)"
    assert study.defaults() == {
        "task.layers": 2,
        "task.heads": 4,
        "task.shift": 0.0,
        "task.dropout": 0,
        "recipe.lr": 0.1,
    }
    sampler = optuna.samplers.RandomSampler(seed=0)
    asked = optuna.create_study(sampler=sampler)
    drawn = [suggest(asked.ask(), study.space) for _ in range(40)]
    assert {values["task.layers"] for values in drawn} == {1, 2, 3, 4}
    assert all(("task.heads" in values) == (values["task.layers"] == 2) for values in drawn)


def test_a_default_that_numpy_made_lies_in_the_space_of_the_same_number() -> None:
    assert contains(choose(0.25, 0.5), np.float64(0.25))
    assert contains(integer(1, 4), np.int64(2))


# -- study files -----------------------------------------------------------------------------------------------------
FILES = {  # the end of the file -> what is said; no line is named where nothing is assigned
    "x = 1\n": "must assign `study = StudySpec(...)`; got study = None",
    "study = Toy()  # HERE\n": "must assign `study = StudySpec(...)`; got study = Toy(",
    "study = StudySpec  # HERE\n": "got study = <class 'hpo.study.StudySpec'>",
    "study = [toy, replace(toy, name='b')]  # HERE\n": "got study = [StudySpec(",
    "a = replace(toy, name='a')\nb = replace(toy, name='b')\n": "got study = None; of toy, a, b, call one `study`",
}


@pytest.mark.parametrize("text", FILES)
def test_a_file_without_a_study_says_what_it_assigns_and_where(text: str, tmp_path: Path) -> None:
    path = write(tmp_path, text)
    with pytest.raises(Refused) as error:
        load_study(path)
    assert str(error.value).startswith(place(path) if "HERE" in text else f"{path}: ")
    assert FILES[text] in str(error.value)
    assert len(str(error.value)) < 500


def test_a_class_instead_of_a_task_is_told_to_be_called(tmp_path: Path) -> None:
    path = write(tmp_path, "study = replace(toy, task=Toy)  # HERE\n")
    with pytest.raises(Refused, match=r"task: must be a Task value; got .*Toy.*; write Toy\(\.\.\.\)") as error:
        load_study(path)
    assert str(error.value).startswith(f"{place(path)}: ")


def test_what_the_overfit_check_pins_is_looked_at_when_the_study_is_loaded(tmp_path: Path) -> None:
    text = """
class Mine(Toy):
    overfit = Overfit(go=0.05, caution=0.3, pinned={"task.shfit": 0.0})
study = replace(toy, task=Mine())  # HERE
"""
    path = write(tmp_path, text)
    with pytest.raises(Refused, match=r"task\.overfit\.pinned: unknown hyperparameter 'task\.shfit'; did you mean"):
        load_study(path)


# -- where an error came from ----------------------------------------------------------------------------------------
def test_the_line_of_an_error_is_the_users_whatever_library_raised_it(tmp_path: Path) -> None:
    def raised_by(text: str) -> Exception:
        path = write(tmp_path, text)
        with pytest.raises(Exception) as error:  # noqa: PT011  # each case raises another
            load_study(path)
        cause = error.value.__cause__
        assert isinstance(cause, Exception)
        assert origin(cause) == place(path)
        return cause

    raised_by("import json\njson.loads('{')  # HERE\n")
    raised_by("torch.zeros(2) @ torch.zeros(3)  # HERE\n")
    raised_by("np.linalg.inv(np.zeros((2, 2)))  # HERE\n")
    assert not says_enough(raised_by("raise ValueError('mine')  # HERE\n"))
