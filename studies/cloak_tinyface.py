"""The question of cloak.py for a machine without the extra `faces`: encoders of pictures instead of face matchers.

They are trained here in 25 s, on one picture of each person. What is found says nothing about a face matcher.
"""

from dataclasses import replace

from studies.cloak import study as base

study = replace(base, name="cloak-tinyface", task=replace(base.task, critic="tinyface", judge="tinyface-wide"))
