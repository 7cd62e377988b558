"""What a comparison says in words, and of what: these networks, other seeds, class orders, or scenarios."""

from __future__ import annotations

from issbench.results.comparison import SEED, Comparison
from issbench.results.estimate import LEVEL, POWER, Estimate, estimate
from issbench.results.runs import RecordError
from issbench.results.significance import signed_rank_chances
from issbench.results.units import LEVELS, inside

NOT_TOLD_APART = "not told apart"
MIXED = "Cells of one scenario, setting and order differ in recipe, data or protocol: they are no repetitions."
_MANY_RANKED = 20
_ANOTHER_SEED = (
    "This is about two networks, not about their methods: another seed may turn it, and the noise of training was "
    "not measured here. A difference between methods takes several seeds: for 80% power 10 if it is as large as "
    "its standard deviation over seeds, 5 if twice as large, 34 if half."
)


def winner(pair: Comparison, p: float) -> str:
    """The one rule for who is better, from the p-value corrected for all pairs shown; empty for no one."""
    if pair.estimate is None or p >= LEVEL:
        return ""
    return pair.a if pair.difference > 0 else pair.b


def claims(pair: Comparison, equivalence: float) -> list[str]:
    """All that is said of two methods: the verdict with its interval, noise, what could be found, probabilities."""
    if pair.identical:
        number = len(pair.cells)
        where = f"all {number} cells" if number > 1 else "the one cell"
        return [f"{pair.a} and {pair.b} have the same mIoU in {where}: identical as far as can be seen."]
    if pair.mixed:
        return [f"No test, and nothing is said of methods. {MIXED}"]
    found = pair.estimate
    if found is None:
        return [_networks(pair), _ANOTHER_SEED]
    lines = [_verdict(pair, found), _above(pair), _noise(pair), _power(pair, found, equivalence)]
    return [*lines, _probabilities(pair, found, equivalence), *_within(pair)]


def scope(pair: Comparison) -> str:
    """To what a claim about methods generalises."""
    units = pair.units
    if units.level == 0:
        return "on average over other scenarios like these, on their test images"
    if pair.with_images:
        return f"on average over other seeds and test images of {units.place}"
    return f"on average over other {LEVELS[units.level]}s of {units.place}, on these test images"


def _verdict(pair: Comparison, found: Estimate) -> str:
    better = winner(pair, found.p)
    start = f"{better} is better than {pair.b if better == pair.a else pair.a}" if better else ""
    start = start or f"{pair.a} and {pair.b} are {NOT_TOLD_APART}"
    test = "seeds and images together" if pair.with_images else "paired t test"
    return (
        f"{start}, {scope(pair)}: {points(found.difference)} points, 95% interval {interval_text(found)} over "
        f"{pair.over} ({test}, {p_text(found.p)}). {_beyond(pair)}"
    )


def _beyond(pair: Comparison) -> str:
    """What a claim is not about, and what is averaged before."""
    units = pair.units
    others = _listed([f"{name}s" for name in LEVELS[: units.level]] or ["datasets"], "or")
    below = _listed([f"{name}s" for name in LEVELS[units.level + 1 :]], "and")
    averaged = f" {below.capitalize()} of a {LEVELS[units.level]} are averaged first." if below else ""
    return f"It says nothing about other {others}.{averaged}"


def _listed(names: list[str], last: str) -> str:
    return f" {last} ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def _above(pair: Comparison) -> str:
    """In how many units a is above b, and the paired t test beside an interval that holds test images, too."""
    units = pair.units
    text = f"{pair.a} is above {pair.b} in {int((units.values > 0).sum())} of {units.over}."
    if not pair.with_images:
        return text
    alone = estimate(units.values)
    return (
        f"{text} On these test images alone, paired t test over seeds: {interval_text(alone)}, {p_text(alone.p)}."
    )


def _noise(pair: Comparison) -> str:
    noise = pair.noise()
    if noise is None:
        return "The noise of training was not measured: no place has two seeds."
    a, b, both = noise
    return (
        f"Noise of training (standard deviation over seeds): {pair.a} {a:.2f}, {pair.b} {b:.2f}, their difference "
        f"paired by seed {both:.2f} points."
    )


def _power(pair: Comparison, found: Estimate, equivalence: float) -> str:
    """What would be found if the noise is as here: the smallest difference, and the units for one that matters."""
    detectable, level = found.detectable(), LEVELS[pair.units.level]
    text = (
        f"With {pair.over} and a spread as here{_rough(found)}, a true difference of {detectable:.2f} points is "
        f"found with {POWER:.0%} power"
    )
    if detectable <= equivalence or not equivalence:
        return f"{text}."
    needed = found.units_needed(equivalence)
    if needed is None:
        return f"{text}; one of {equivalence:g} with no number of {level}s on so few test images."
    return f"{text}; one of {equivalence:g} takes {needed} {level}s."


def _rough(found: Estimate) -> str:
    """How much larger the true spread may be than that of few units."""
    larger = found.spread_up_to()
    return f" (the true one may be {larger:.0f} times as large)" if larger > 2 else ""


def _probabilities(pair: Comparison, found: Estimate, equivalence: float) -> str:
    """Better, equivalent or worse by the region of practical equivalence, and above on a new seed."""
    better, within, worse = map(percent, found.chances(equivalence))
    text = (
        f"Probability that {pair.a} is better by more than {equivalence:g} points {better}, equivalent {within}, "
        f"worse {worse} (where every difference was as likely before)."
    )
    chances = signed_rank_chances(pair.units.values, equivalence)
    if chances:
        few = ", somewhat too sure of so few" * (len(pair.units) < _MANY_RANKED)
        text += f" Bayesian signed-rank test of the {pair.units.over}{few}: {', '.join(map(percent, chances))}."
    if pair.new_seed is not None:
        where = "" if pair.units.level == SEED else " in one of these places"
        text += f" On a new seed{where} {pair.a} is above {pair.b} with a probability of {percent(pair.new_seed)}."
    return text


def _within(pair: Comparison) -> list[str]:
    """The difference within each scenario, setting or order that has several units of its own."""
    lines = []
    for units in inside(pair.differences):
        found = estimate(units.values)
        lines.append(f"{units.place}: {points(found.difference)} ({interval_text(found)} over {units.over})")
    if not lines:
        return []
    return [f"Each by itself, with a 95% interval that is not corrected for their number: {'; '.join(lines)}."]


def _networks(pair: Comparison) -> str:
    """What one cell says, of two networks only."""
    cell, difference = pair.cells[0], pair.difference
    above, below = (pair.a, pair.b) if difference > 0 else (pair.b, pair.a)
    *place, seed = cell.facts
    text = (
        f"{', '.join(place)}, seed {seed}: this network of {above} is {abs(difference):.2f} points above this one "
        f"of {below}"
    )
    try:
        found = pair.on_images(cell)
    except RecordError:
        return f"{text} on these test images."
    low, high = (found.low, found.high) if difference > 0 else (-found.high, -found.low)
    turned = "" if low > 0 else "; other images may turn it"
    return (
        f"{text} on these {found.images} test images (95% interval over other images like these {points(low)} to "
        f"{points(high)}{turned})."
    )


def interval_text(found: Estimate) -> str:
    """The 95 % interval in points."""
    low, high = found.interval()
    return f"{points(low)} to {points(high)}"


def points(difference: float) -> str:
    """A difference in points with its sign; what rounds to nothing is +0.00."""
    return f"{round(difference, 2) + 0.0:+.2f}"


def p_text(p: float) -> str:
    """A p-value to three decimals, and to more where it would else read as the level itself."""
    if p < 0.001:
        return "p < 0.001"
    digits = 3
    while round(p, digits) == LEVEL != p and digits < 9:
        digits += 1
    return f"p = {p:.{digits}f}"


def percent(chance: float) -> str:
    """A probability in %, never as certain as 0 or 100."""
    return "< 1%" if chance < 0.01 else "> 99%" if chance > 0.99 else f"{chance:.0%}"
