//! Wires the floors together, runs and drains them.
