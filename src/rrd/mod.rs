//! The archive engine.
