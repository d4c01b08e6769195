//! Expressions in reverse Polish notation: the operators, their arithmetic on a stack, and the short expressions of
//! COMPUTE data sources. Pure arithmetic on small values.
//!
//! A COMPUTE source is the restricted case: whole numbers, the data sources before it, and the operators that look at
//! nothing but the stack. Series of rows have some more, which see time and other rows ([`SeriesOperator`]); who has
//! rows evaluates those, and leaves the others to the same [`Stack`].

mod compute;
mod operator;
mod stack;

pub use compute::Rpn;
pub(super) use operator::{Operator, SeriesOperator, number_token};
pub(super) use stack::{Stack, sort};

#[cfg(test)]
mod tests;
