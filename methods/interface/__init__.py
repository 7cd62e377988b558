"""How methods are found, combined and given their options."""
