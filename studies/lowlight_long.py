"""The questions of `lowlight` with six times the crops: does what helped a short training still help a long one?

It takes 83 minutes of CPU: 24 trials of 40 to 80 s, 12 runs of 4 to 5 minutes, and the rivals' own search. What it has
found stands in objectives/lowlight/README.md.
"""

from dataclasses import replace

from objectives.lowlight import CHEAP_LONG, LONG
from studies.lowlight import study as short

study = replace(short, name="lowlight_long", cheap=CHEAP_LONG, full=LONG, trials=24)
