//! Writes answers.
