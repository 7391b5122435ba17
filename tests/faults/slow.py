"""A study that takes its time, for the command line."""

from tests.faults.studies import Victim, victims

study = victims(name="slow", task=Victim(pace=0.3), trials=4)
