# The public face: what a task, a study and a notebook need. Each name's own file has its documentation.

__version__: str

# a task
from .cache import made_once as made_once
from .contract.pruning import Median as Median
from .contract.pruning import Rungs as Rungs
from .contract.tuned import Tuned as Tuned
from .data.batch import example_hash as example_hash
from .direction import Direction as Direction

# training, and what came of it
from .engine.evaluation import baseline_columns as baseline_columns
from .engine.evaluation import columns_of as columns_of
from .engine.evaluation import evaluate as evaluate
from .engine.evaluation import scores_of as scores_of
from .engine.own_training import OwnEpoch as OwnEpoch
from .engine.own_training import OwnTraining as OwnTraining
from .engine.training import Progress as Progress
from .engine.training import fit as fit
from .epoch import Epoch as Epoch
from .errors import Diverged as Diverged
from .errors import HpoError as HpoError
from .errors import Infeasible as Infeasible
from .errors import NoGo as NoGo
from .errors import Refused as Refused
from .files import write_json as write_json
from .promotion.intervals import Interval as Interval
from .promotion.intervals import crossed_interval as crossed_interval
from .promotion.retune import retune as retune
from .promotion.retune import with_settings as with_settings
from .promotion.tuning import Tuning as Tuning
from .promotion.tuning import tune_baselines as tune_baselines

# a study
from .recipe import Recipe as Recipe
from .schedule import blend as blend
from .schedule import phase as phase
from .schedule import ramp as ramp
from .schedule import ramped as ramped
from .schedule import stage as stage
from .seeds import derive as derive
from .seeds import generator as generator
from .space import Space as Space
from .space import choose as choose
from .space import integer as integer
from .space import log as log
from .space import put as put
from .space import uniform as uniform
from .space import when as when
from .study import StudySpec as StudySpec
from .task import REFERENCE as REFERENCE
from .task import Chart as Chart
from .task import Check as Check
from .task import Columns as Columns
from .task import Evidence as Evidence
from .task import Fidelity as Fidelity
from .task import Held as Held
from .task import Method as Method
from .task import Moment as Moment
from .task import Overfit as Overfit
from .task import Picture as Picture
from .task import Split as Split
from .task import Status as Status
from .task import SweptTrial as SweptTrial
from .task import Task as Task
from .task import means as means
from .trial.artifact import CARD as CARD
from .trial.artifact import load_winner as load_winner
from .verbs.adopt import adopt as adopt
from .verbs.adopt import report_on as report_on

# the verbs
from .verbs.export import TrialRow as TrialRow
from .verbs.export import export_trials as export_trials
from .verbs.findings import figures as figures
from .verbs.findings import findings as findings
from .verbs.gate import gate as gate
from .verbs.load import load_study as load_study
from .verbs.logs import logs as logs
from .verbs.next_study import next_study as next_study
from .verbs.overview import status as status
from .verbs.preflight import preflight as preflight
from .verbs.promote import promote as promote
from .verbs.report import report as report
from .verbs.run import run as run
from .verbs.sweep import sweep as sweep
from .verbs.upkeep import rebuild as rebuild
from .verbs.upkeep import retry as retry
from .watchdog.limit import Limit as Limit
