"""Fine-tuning, the lower bound."""

from issbench.methods.method import Method


class FineTuning(Method):
    """Fine-tuning: cross-entropy on the step's labels, nothing against forgetting (lower bound)."""

    name = "ft"
    title = "FT"
    table_order = 10
    colour, marker, dashes = "#7F7F7F", "x", ":"
    uses_teacher = False
