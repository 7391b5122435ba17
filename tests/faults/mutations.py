"""Does the suite notice when a piece of saved state, or a safeguard, is dropped? `python -m tests.faults.mutations`.

Each mutation changes one place of a copy of the tree, and the test that is named for it must then fail. Before that,
all of those tests must pass in the unchanged copy; `--trust` leaves this out. `--apply` only checks that each mutation
can be made, and that its test exists. Other words after the command choose mutations by their names. Prints a table and
ends with 1 if one survived.
"""

from __future__ import annotations

import importlib
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[2]


class Mutation(NamedTuple):
    name: str
    file: str
    old: str
    new: str
    test: str


ENGINE, SWEEP, PROMOTE = "tests/test_engine.py", "tests/test_sweep.py", "tests/test_promote.py"
FILES, STORAGE, WORKERS = "tests/test_checkpoint.py", "tests/faults/test_storage.py", "tests/faults/test_workers.py"
SCHEDULER = "tests/faults/test_scheduler.py"
DASK = "tests/faults/test_dask_workers.py"
MODELS, OPTIMIZERS, DATA = "tests/test_models.py", "tests/test_optimizers.py", "tests/test_data.py"
RUN, PASSES = "hpo/engine/run.py", "hpo/data/passes.py"
ORPHAN = "orphan = next((trial for trial in self.trials() if is_orphan(trial, self.running)), None)"
RESUMED = f"{ENGINE}::test_a_run_resumed_at_any_epoch_is_the_unbroken_one_bit_for_bit"
KILLED = f"{SWEEP}::test_a_sweep_killed_at_every_kind_of_moment_gives_the_unbroken_rows"
PLACES = f"{SWEEP}::test_a_sweep_killed_at_the_same_place_in_every_trial_gives_the_unbroken_rows"
UNREPORTED = f"{PLACES}[between each checkpoint and its report]"
UNDECIDED = f"{PLACES}[between each last report and its result]"
SYNCED = f"{FILES}::test_content_is_synced_before_it_is_renamed_and_the_folder_after"

OWNER, IDENTITY = "tests/faults/test_owner.py", "tests/test_data_identity.py"

MUTATIONS = [
    # -- whose study it is, and which data
    Mutation(
        "owner",
        "hpo/storage/owner.py",
        "if owner is None or owner.id in ids or",
        "if owner is None or owner.id or",
        f"{OWNER}::test_a_name_that_another_folder_owns_is_taken_and_nothing_is_written",
    ),
    Mutation(
        "older copy",
        "hpo/trial/ownership.py",
        "    if lines:\n",
        "    if not lines:\n        return\n    if False:\n",
        f"{OWNER}::test_a_copy_writes_only_while_the_storage_knows_nothing_that_it_lacks",
    ),
    Mutation(
        "another owner after a forced rebuilding",
        "hpo/trial/rebuild.py",
        "elif force and _lacking(study, folder):",
        "elif False:",
        f"{OWNER}::test_an_older_copy_that_is_forced_becomes_another_owner_and_the_newer_one_is_told",
    ),
    Mutation(
        "what a change sets aside is moved once",
        "hpo/trial/changes.py",
        "if number <= _moved(folder):",
        "if number <= 0:",
        "tests/test_generations.py::test_what_was_set_aside_is_moved_once_even_where_it_was_removed_since",
    ),
    Mutation(
        "files that Python opened",
        "hpo/trial/data_identity.py",
        'if not are_unchanged(record["opened"]):',
        "if False:",
        f"{IDENTITY}::test_a_file_that_python_has_opened_is_looked_at_although_nobody_declared_it",
    ),
    Mutation(
        "first examples",
        "hpo/trial/data_identity.py",
        'return record["first"] is None or',
        "return True or",
        f"{IDENTITY}::test_a_change_of_the_first_examples_is_noticed_wherever_they_come_from",
    ),
    Mutation(
        "the time of a file's entry",
        "hpo/trial/contents.py",
        "status.st_mtime_ns, status.st_ctime_ns]",
        "status.st_mtime_ns, status.st_mtime_ns]",
        f"{IDENTITY}::test_a_time_that_was_set_back_hides_no_change",
    ),
    # -- the state of a run
    Mutation("model", RUN, '        self.model.load_state_dict(saved["model"])\n', "", RESUMED),
    Mutation("optimizer", RUN, '        self.optimizer.load_state_dict(saved["optimizer"])\n', "", RESUMED),
    Mutation("scaler of fp16", RUN, '        self.scaler.load_state_dict(saved["scaler"])\n', "", RESUMED),
    Mutation(
        "running average",
        RUN,
        '            self.average.load_state_dict(saved["average"])',
        "            pass",
        RESUMED,
    ),
    Mutation(
        "steps taken (schedule)",
        RUN,
        '        self.steps = saved["steps"]\n',
        "",
        RESUMED,
    ),
    Mutation(
        "best weights",
        RUN,
        '        self.best_weights = saved["best_weights"]\n',
        "",
        RESUMED,
    ),
    Mutation(
        "history",
        RUN,
        '        self.record = [Epoch(**epoch) for epoch in saved["record"]]\n',
        "",
        RESUMED,
    ),
    Mutation(
        "best so far",
        RUN,
        '        self.record = [Epoch(**epoch) for epoch in saved["record"]]\n',
        '        self.record = [Epoch(**{**epoch, "best": epoch["value"]}) for epoch in saved["record"]]\n',
        RESUMED,
    ),
    Mutation(
        "random state of dropout",
        RUN,
        '        seed_globals(derive(self.seed, "epoch", number, *distributed.seed_parts()))\n',
        "",
        RESUMED,
    ),
    Mutation(
        "random state of batches",
        RUN,
        'generator(self.seed, "batches", epoch)',
        'generator(self.seed, "batches")',
        f"{ENGINE}::test_every_epoch_draws_its_own_batches_and_its_own_dropout",
    ),
    Mutation(
        "groups of several optimizers after a resume",
        "hpo/engine/optimizers.py",
        "        self.param_groups = self._groups()\n",
        "",
        f"{OPTIMIZERS}::test_a_run_with_any_optimizer_is_resumed_bit_for_bit",
    ),
    Mutation(
        "scores that a plateau is counted from",
        RUN,
        "rate_factor(self.recipe, at, self.record,",
        "rate_factor(self.recipe, at, [],",
        f"{OPTIMIZERS}::test_a_run_with_any_schedule_is_resumed_bit_for_bit",
    ),
    Mutation(
        "counts and indices in the running average",
        "hpo/engine/model.py",
        "copied.copy_(tensor)",
        "copied.copy_(copied * decay + tensor * (1 - decay))",
        f"{MODELS}::test_the_running_average_copies_what_is_no_floating_point_number",
    ),
    Mutation(
        "extra state in the running average",
        "hpo/engine/model.py",
        "part.set_extra_state(copy.deepcopy(model.get_submodule(name).get_extra_state()))",
        "pass",
        f"{MODELS}::test_the_running_average_has_the_extra_state_of_the_model",
    ),
    Mutation(
        "weights that rebuild the model",
        "hpo/promotion/runs.py",
        "            require_same_score(task, recipe, job.fidelity, last, device=job.device)\n",
        "",
        f"{PROMOTE}::test_weights_that_do_not_rebuild_the_model_are_not_scored_on_the_test_split",
    ),
    Mutation(
        "random state of transforms",
        PASSES,
        "    _seed_numpy_and_python(seed)\n    with _Stream(seed) as stream:",
        "    with _Stream(seed) as stream:",
        f"{DATA}::test_the_checks_take_random_transforms_of_training_data_for_what_they_are[0]",
    ),
    Mutation(
        "batches draw from the model's random numbers",
        PASSES,
        "        self.outside = torch.get_rng_state()\n        torch.set_rng_state(self.inside)\n",
        "        self.outside = torch.get_rng_state()\n",
        f"{DATA}::test_what_a_model_draws_does_not_change_the_batches",
    ),
    Mutation(
        "processes of a worker's own",
        "hpo/workers/process.py",
        "    allow_processes()\n    steady_streams()",
        "    steady_streams()",
        f"{DATA}::test_a_worker_starts_processes_as_any_other_process_does",
    ),
    # -- files
    Mutation("fsync of a file", "hpo/files.py", "            os.fsync(file.fileno())\n", "", SYNCED),
    Mutation("fsync of its folder", "hpo/files.py", "        os.fsync(folder)\n", "        pass\n", SYNCED),
    Mutation(
        "rename",
        "hpo/files.py",
        "        os.replace(temporary, path)\n",
        "        path.write_bytes(temporary.read_bytes()), temporary.unlink()\n",
        f"{FILES}::test_a_killed_writer_leaves_the_old_file_or_the_new_one",
    ),
    Mutation(
        "checksum of a checkpoint",
        "hpo/engine/checkpoint.py",
        'if hashlib.sha256(content).hexdigest()[:16] == path.stem.rsplit("-", 1)[1]:',
        "if True:",
        f"{FILES}::test_a_flipped_bit_anywhere_is_noticed_and_the_one_before_is_loaded",
    ),
    Mutation(
        "the checkpoint before",
        "hpo/engine/checkpoint.py",
        "KEEP = 2",
        "KEEP = 1",
        f"{ENGINE}::test_a_damaged_newest_checkpoint_falls_back_to_the_one_before",
    ),
    Mutation(
        "whose checkpoint it is",
        "hpo/engine/training.py",
        'if saved.get("identity") != identity:',
        "if False:",
        f"{STORAGE}::test_the_checkpoint_of_another_trial_is_not_gone_on_from",
    ),
    Mutation(
        "checksum of a record",
        "hpo/trial/sealed.py",
        'if not isinstance(record, dict) or record.pop("sha256", None) != _digest(record):',
        'if not isinstance(record, dict) or not record.pop("sha256", None):',
        f"{STORAGE}::test_a_result_with_a_digit_changed_is_no_result",
    ),
    Mutation(
        "whose result it is",
        "hpo/trial/record.py",
        'inputs not in (None, record.get("inputs"))',
        "False",
        f"{STORAGE}::test_the_result_of_another_trial_is_no_result",
    ),
    # -- a sweep
    Mutation(
        "state of the sampler",
        "hpo/search/proposal.py",
        "    study.sampler = spec.sampler(number)\n",
        "",
        KILLED,
    ),
    Mutation(
        "sampler of an adopted trial",
        "hpo/search/sweep.py",
        "        self.optuna.sampler = self.spec.sampler(orphan.number)\n",
        "        pass\n",
        KILLED,
    ),
    Mutation(
        "adoption",
        "hpo/trial/ask_tell.py",
        ORPHAN,
        "orphan = None",
        KILLED,
    ),
    Mutation(
        "budget counts what runs",
        "hpo/search/proposal.py",
        "sum(trial.state is not TrialState.WAITING for trial in trials)",
        "sum(trial.state.is_finished() for trial in trials)",
        f"{WORKERS}::test_more_workers_than_trials_and_a_budget_that_grows",
    ),
    Mutation(
        "reports to the pruner",
        "hpo/trial/objective.py",
        "        _report(trial, progress.epoch, progress.best, before)\n        yield progress\n",
        "        progress.replayed or _report(trial, progress.epoch, progress.best, before)\n        yield progress\n",
        UNREPORTED,
    ),
    Mutation(
        "pruning of the last report",
        "hpo/trial/objective.py",
        "if progress.epoch >= last_reported and retry_storage(trial.should_prune):",
        "if progress.epoch > last_reported and retry_storage(trial.should_prune):",
        UNDECIDED,
    ),
    Mutation(
        "the mark of a spared trial",
        "hpo/trial/objective.py",
        "if SPARED_AT not in trial.user_attrs:",
        "if True:",
        f"{SWEEP}::test_a_spared_trial_is_marked_where_it_would_have_been_pruned_and_trained_to_its_end",
    ),
    Mutation(
        "reports after an early stop",
        "hpo/trial/objective.py",
        "if last is not None and last.stopped:",
        "if False:",
        f"{SWEEP}::test_a_trial_that_stops_early_carries_its_best_forward_to_the_last_epoch",
    ),
    Mutation(
        "reports of a found result",
        "hpo/trial/lifecycle.py",
        "            trial.report(epoch.best, epoch.epoch)\n",
        "            pass\n",
        f"{STORAGE}::test_a_result_whose_question_was_lost_is_in_a_rebuilt_storage_with_all_its_reports",
    ),
    Mutation(
        "what was reported before",
        "hpo/trial/objective.py",
        "elif before[epoch] != value:",
        "elif False:",
        f"{STORAGE}::test_a_trial_that_comes_out_otherwise_after_its_interruption_fails_and_says_so",
    ),
    Mutation(
        "a result that is there",
        "hpo/trial/objective.py",
        "        outcome = read_outcome(job.folder, job.inputs)\n",
        "        outcome = None\n",
        f"{STORAGE}::test_a_result_that_was_not_told_is_told_and_not_trained_again",
    ),
    Mutation(
        "deaths, in the next coordinator",
        "hpo/trial/record.py",
        '    write_sealed(folder / "deaths.json", {"deaths": deaths, "epoch": epoch})\n',
        "",
        f"{WORKERS}::test_deaths_are_remembered_by_the_next_coordinator",
    ),
    Mutation(
        "deaths, with every epoch",
        "hpo/trial/record.py",
        'before.get("epoch") == epoch',
        "before",
        f"{WORKERS}::test_a_trial_that_gets_further_each_time_may_die_as_often_as_it_has_epochs",
    ),
    Mutation(
        "comparison with the folders",
        "hpo/trial/ask_tell.py",
        "        require_agreement(self.optuna, folder, kind, dict if",
        "        _ = (dict if",
        f"{STORAGE}::test_a_damaged_storage_is_refused_and_rebuilt_equal",
    ),
    Mutation(
        "a storage that is missing",
        "hpo/storage/database.py",
        "    _require_sound(folder, kind)\n",
        "",
        f"{STORAGE}::test_a_damaged_storage_is_refused_and_rebuilt_equal",
    ),
    Mutation(
        "a full disk is waited for",
        "hpo/retrying.py",
        "return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)",
        "return False",
        f"{STORAGE}::test_a_full_disk_pauses_the_sweep_until_there_is_room",
    ),
    Mutation(
        "syncs of SQLite",
        "hpo/storage/sqlite.py",
        '    connection.execute("PRAGMA synchronous=FULL")\n',
        '    connection.execute("PRAGMA synchronous=OFF")\n',
        "tests/test_storage.py::test_every_connection_syncs_fully_and_keeps_a_rollback_journal",
    ),
    Mutation(
        "the study's lock",
        "hpo/storage/locks.py",
        "fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)",
        "pass",
        f"{WORKERS}::test_of_several_coordinators_at_once_one_wins_and_the_others_name_it",
    ),
    Mutation(
        "a trial's lease",
        "hpo/storage/locks.py",
        "        fcntl.lockf(file, fcntl.LOCK_EX)  #",
        "        pass  #",
        f"{WORKERS}::test_a_trial_is_never_trained_by_two_at_once",
    ),
    Mutation(
        "workers follow their coordinator",
        "hpo/workers/process.py",
        "    while os.getppid() == coordinator:\n",
        "    while True:\n",
        f"{WORKERS}::test_workers_end_themselves_when_the_coordinator_is_gone",
    ),
    Mutation(
        "the schedulers that have answered",
        "hpo/workers/dask.py",
        "        _remember(record, self._address)\n",
        "",
        f"{SCHEDULER}::test_a_connected_scheduler_that_is_killed_is_a_loss_for_every_method",
    ),
    Mutation(
        "a scheduler that was started again",
        "hpo/workers/dask.py",
        'if scheduler is None or self._scheduler not in ("", scheduler.id):',
        "if scheduler is None:",
        f"{SCHEDULER}::test_a_scheduler_that_was_started_again_does_not_know_our_jobs_and_counts_as_lost",
    ),
    Mutation(
        "a worker that runs something else",
        "hpo/workers/dask_examination.py",
        "        passed = [address for address, faults in answers.items() if not faults]\n",
        "        passed = list(answers)\n",
        f"{DASK}::test_a_worker_of_another_checkout_is_named_and_set_aside_and_the_others_do_the_work",
    ),
    # -- a promotion
    Mutation(
        "the frozen selection",
        "hpo/promotion/selection.py",
        "    if before and same_plan and not is_judged(before, folder):\n        return before\n",
        "",
        f"{PROMOTE}::test_a_sweep_that_goes_on_does_not_change_what_is_being_promoted",
    ),
    Mutation(
        "runs that are known",
        "hpo/promotion/runs.py",
        " if run not in known]",
        "]",
        f"{PROMOTE}::test_the_same_command_again_changes_nothing",
    ),
    Mutation(
        "adoption of a run",
        "hpo/trial/ask_tell.py",
        ORPHAN,
        "orphan = None",
        f"{PROMOTE}::test_killed_at_any_moment_it_ends_in_the_same_verdict_bit_for_bit",
    ),
    # -- a way on
    Mutation(
        "a retry that was killed half way",
        "hpo/search/sweep.py",
        "        finish_retry(study, folder, identity)\n",
        "",
        "tests/test_retry.py::test_a_retry_that_was_killed_between_its_steps_loses_nothing[finish_retry-sweep]",
    ),
    Mutation(
        "which configuration of --try a trial has",
        "hpo/search/sweep.py",
        "attributes = {TRY: trial.user_attrs[TRY]} if TRY in trial.user_attrs else {}",
        "attributes = {}",
        "tests/test_tries.py::test_it_is_tried_once_whenever_the_sweep_is_killed_and_its_storage_rebuilt",
    ),
    Mutation(
        "looks that a verdict alone proves",
        "hpo/verbs/changes.py",
        "            keep_looks(opened.folder)\n",
        "",
        "tests/test_again.py::test_the_look_of_an_older_version_which_its_verdict_alone_proves_is_counted",
    ),
    Mutation(
        "fresh seeds after a change",
        "hpo/promotion/selection.py",
        "max((selection.next_seed for selection in selections if selection), default=0)",
        "0",
        "tests/test_again.py::test_seeds_of_a_promotion_that_was_interrupted_are_not_used_again",
    ),
]


def copied(to: Path) -> Path:
    """The parts of the tree that the tests need."""
    for name in ("hpo", "tests", "studies", "objectives"):
        shutil.copytree(ROOT / name, to / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", to)
    return to


def failure(tree: Path, *tests: str) -> str:
    """What the tests print if one fails; nothing if they pass. In a fork, which has what is costly to import."""
    log = tree.parent / "log"
    pid = os.fork()
    if pid == 0:
        with open(log, "wb") as file:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
        os.chdir(tree)
        os.environ.update(PYTHONPATH=str(tree), PYTHONDONTWRITEBYTECODE="1", OMP_NUM_THREADS="1")
        sys.path.insert(0, str(tree))
        for name in [name for name in sys.modules if name.split(".")[0] in ("tests", "hpo")]:
            del sys.modules[name]  # they are the mutant's
        options = ["-x", "-p", "no:cacheprovider", "-p", "no:xdist", "--timeout=300", "-m", "not soak"]
        code = pytest.main([*options, *tests])
        sys.stdout.flush()
        os._exit(code)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    printed = log.read_text(errors="replace")
    if code > 1:
        raise RuntimeError(f"the tests did not run:\n{printed[-2000:]}")
    return printed if code else ""


def mutate(tree: Path, mutation: Mutation) -> None:
    path = tree / mutation.file
    path.write_text(path.read_text().replace(mutation.old, mutation.new))


def check_applies(tree: Path, mutations: list[Mutation]) -> None:
    """Raise RuntimeError where a mutation cannot be made any more, or its test is not there."""
    problems = []
    for mutation in mutations:
        file, _, test = mutation.test.partition("::")
        count = (tree / mutation.file).read_text().count(mutation.old) if (tree / mutation.file).exists() else 0
        if count != 1:
            problems.append(f"{mutation.name}: its place is {count} times in {mutation.file}")
        if f"def {test.partition('[')[0]}(" not in (tree / file).read_text():
            problems.append(f"{mutation.name}: its test {mutation.test} is not there")
    if problems:
        raise RuntimeError("\n".join(problems))


def import_slow_modules() -> None:
    """What takes long to import: once here, and not in every fork."""
    for module in (
        "hypothesis",
        "joblib",
        "optuna",
        "plotly.graph_objects",
        "scipy.stats",
        "sklearn.ensemble",
        "sqlalchemy.orm",
        "torch._dynamo",
        "torch.optim.swa_utils",
        "typer",
    ):
        importlib.import_module(module)


def main(words: list[str]) -> int:
    names = [word for word in words if not word.startswith("--")]
    chosen = [mutation for mutation in MUTATIONS if not names or mutation.name in names]
    survivors = 0
    with tempfile.TemporaryDirectory(prefix="hpo-mutations-") as base:
        whole = copied(Path(base) / "whole")
        check_applies(whole, chosen)
        print(f"{len(chosen)} mutations can be made", flush=True)
        if "--apply" in words:
            return 0
        import_slow_modules()
        if "--trust" not in words:
            printed = failure(whole, *dict.fromkeys(mutation.test for mutation in chosen))
            if printed:
                raise RuntimeError(f"a test fails without any mutation:\n{printed[-6000:]}")
            print("without them, their tests pass", flush=True)
        for mutation in chosen:
            tree, began = Path(base) / "mutant", time.monotonic()
            shutil.copytree(whole, tree, ignore=shutil.ignore_patterns("__pycache__"))
            mutate(tree, mutation)
            survived = not failure(tree, mutation.test)
            survivors += survived
            print(
                f"{'SURVIVED' if survived else 'killed':9} {mutation.name:34} {mutation.file:20} "
                f"{mutation.test} ({time.monotonic() - began:.0f} s)",
                flush=True,
            )
            shutil.rmtree(tree)
    print(f"{len(chosen) - survivors} killed, {survivors} survived", flush=True)
    return int(survivors > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
