"""The engine: it trains and tests the steps that a run store lacks."""
