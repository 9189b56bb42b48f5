//! The integer graph.
