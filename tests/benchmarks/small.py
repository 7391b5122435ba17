"""The study that the benchmarks run: lowlight's own cheap trials, shortened, with nothing pruned, so that both sides do
the same work."""

from dataclasses import replace

from studies.lowlight import study as lowlight

study = replace(lowlight, name="small", trials=4, pruning=None, cheap=replace(lowlight.cheap, epochs=6))
