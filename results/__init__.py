"""What came out: records of runs, tables. Reads files alone, needs neither torch nor the engine."""
