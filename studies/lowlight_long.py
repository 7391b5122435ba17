"""The questions of `lowlight` with six times the crops: does what helped a short training still help a long one?

About three quarters of an hour on two idle cores: 24 trials of 38 s, 16 runs of 4 minutes, and the rivals' own search.
"""

from dataclasses import replace

from objectives.lowlight import CHEAP_LONG, LONG
from studies.lowlight import study as short

study = replace(short, name="lowlight_long", cheap=CHEAP_LONG, full=LONG)
