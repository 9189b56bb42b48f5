//! Reference evaluation of a float graph: plain loops, for tests and as the oracle of faster code.
