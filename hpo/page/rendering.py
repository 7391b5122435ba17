"""From records to HTML: Jinja2 templates that escape whatever they are given. The ledger's page shares the parts."""

from __future__ import annotations

from functools import cache
from typing import Any

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

from hpo.page.shared_texts import SharedTexts

PAGE = "hpo.page"  # the package whose templates every page can use


def render_page(package: str, template: str, **values: Any) -> str:
    """The HTML of a template in the folder `templates` of a package.

    Everything in `values` is escaped unless it is Markup. Raises jinja2.UndefinedError where a template asks for what
    it was not given.
    """
    return _environment(package).get_template(template).render(shared_texts=SharedTexts(), **values)


@cache
def _environment(package: str) -> Environment:
    packages = dict.fromkeys((package, PAGE))
    environment = Environment(
        loader=ChoiceLoader([PackageLoader(name) for name in packages]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    # As compact as it goes, in the order given; NaN and infinity are refused rather than written as non-JSON.
    environment.policies["json.dumps_kwargs"] = {"allow_nan": False, "separators": (",", ":")}
    return environment
