//! The expressions of COMPUTE data sources: reading, printing, storing, evaluating.

use std::fmt::{self, Write as _};

use crate::rrd::error::{ExpressionError, RpnError};
use crate::rrd::layout::{WORDS, ds_def};
use crate::rrd::number::UNKNOWN;
use crate::rrd::rpn::operator::{Operator, SeriesOperator, number_token};
use crate::rrd::rpn::stack::Stack;

/// An expression over the data sources before its own; no longer than a file has room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Rpn {
    nodes: [Node; LONGEST],
    len: usize,
}

/// One step of an expression.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Node {
    Number(i16),
    /// The value of a data source, by its index.
    Source(u16),
    Operator(Operator),
}

/// Steps of the longest expression; behind them there must be room for the end's mark.
const LONGEST: usize = 19;
/// A stored step: code, nothing, operand.
const NODE_LEN: usize = 4;
/// What the parameters of a data source have room for.
const ROOM: usize = WORDS / NODE_LEN;

const NUMBER: u8 = 0;
const SOURCE: u8 = 1;
const END: u8 = 32;

impl Rpn {
    /// Reads `a,8,*`; `source` knows the index of a data source that is defined before this one. As in the original a
    /// number is one only where a comma follows it, and a last comma does no harm.
    pub(in crate::rrd) fn parse(
        text: &str,
        source: impl Fn(&str) -> Option<usize>,
    ) -> Result<Self, ExpressionError> {
        let mut nodes = Vec::new();
        let mut refused = None;
        let mut rest = text;
        loop {
            let (token, behind) = match rest.split_once(',') {
                Some((token, behind)) => (token, Some(behind)),
                None => (rest, None),
            };
            // What does not read as an expression is told first, then operators of graphs, then its length.
            match parse_token(token, behind.is_some(), &source) {
                Ok(node) => nodes.push(node),
                Err(ExpressionError::Syntax) => return Err(ExpressionError::Syntax),
                Err(error) => {
                    nodes.push(Node::Number(0));
                    if refused != Some(ExpressionError::Unsupported) {
                        refused = Some(error);
                    }
                }
            }
            match behind {
                None | Some("") => break,
                Some(behind) => rest = behind,
            }
        }
        if let Some(error) = refused
            && (error == ExpressionError::Unsupported || nodes.len() <= LONGEST)
        {
            return Err(error);
        }
        let mut rpn = Self { nodes: [Node::Number(0); LONGEST], len: nodes.len() };
        let room = rpn.nodes.get_mut(..nodes.len()).ok_or(ExpressionError::Long(nodes.len()))?;
        room.copy_from_slice(&nodes);
        Ok(rpn)
    }

    /// The expression in the parameters of data source `index`; `None` where there is none that could be evaluated.
    pub(in crate::rrd) fn read(parameters: &[u8], index: usize) -> Option<Self> {
        let mut rpn = Self { nodes: [Node::Number(0); LONGEST], len: 0 };
        for stored in parameters.chunks_exact(NODE_LEN).take(ROOM) {
            let operand = [stored[2], stored[3]];
            let node = match stored[0] {
                END => return Some(rpn),
                NUMBER => Node::Number(i16::from_le_bytes(operand)),
                SOURCE => Some(u16::from_le_bytes(operand))
                    .filter(|source| usize::from(*source) < index)
                    .map(Node::Source)?,
                code => Node::Operator(Operator::from_code(code)?),
            };
            *rpn.nodes.get_mut(rpn.len)? = node;
            rpn.len += 1;
        }
        None
    }

    /// Stores it in the parameters of a data source.
    pub(in crate::rrd) fn write(&self, parameters: &mut [u8]) {
        let end = std::iter::once((END, [0; 2]));
        let stored = self.nodes().iter().map(|node| match *node {
            Node::Number(number) => (NUMBER, number.to_le_bytes()),
            Node::Source(source) => (SOURCE, source.to_le_bytes()),
            Node::Operator(operator) => (operator as u8, [0; 2]),
        });
        let room = parameters[..ds_def::LEN - ds_def::HEARTBEAT].chunks_exact_mut(NODE_LEN);
        for (room, (code, operand)) in room.zip(stored.chain(end)) {
            room.copy_from_slice(&[code, 0, operand[0], operand[1]]);
        }
    }

    /// The expression as text; `name` knows the name of a data source.
    pub(in crate::rrd) fn text<'a>(&self, name: impl Fn(usize) -> &'a str) -> String {
        let mut text = String::new();
        for (index, node) in self.nodes().iter().enumerate() {
            let comma = if index > 0 { "," } else { "" };
            // Writing to a String does not fail.
            let _ = write!(text, "{comma}{}", Shown(node, &name));
        }
        text
    }

    /// The same expression where the data sources have other indexes; the index of one that is gone is the error.
    pub(in crate::rrd) fn with_sources(
        mut self,
        moved: impl Fn(usize) -> Option<usize>,
    ) -> Result<Self, usize> {
        for node in &mut self.nodes[..self.len] {
            if let Node::Source(source) = node {
                let old = usize::from(*source);
                *source = moved(old).and_then(|new| u16::try_from(new).ok()).ok_or(old)?;
            }
        }
        Ok(self)
    }

    /// The highest index of a data source in it.
    pub(in crate::rrd) fn last_source(&self) -> Option<usize> {
        let source =
            |node: &Node| if let Node::Source(source) = node { Some(usize::from(*source)) } else { None };
        self.nodes().iter().filter_map(source).max()
    }

    fn nodes(&self) -> &[Node] {
        &self.nodes[..self.len]
    }
}

fn parse_token(
    token: &str,
    comma_follows: bool,
    source: impl Fn(&str) -> Option<usize>,
) -> Result<Node, ExpressionError> {
    if let Some(number) = number_token(token.as_bytes(), comma_follows) {
        let whole = number as i16;
        return if f64::from(whole) == number {
            Ok(Node::Number(whole))
        } else {
            Err(ExpressionError::Constant)
        };
    }
    if let Some(operator) = Operator::from_name(token.as_bytes()) {
        return Ok(Node::Operator(operator));
    }
    // The original crashes at `PREV(name)`.
    if SeriesOperator::from_name(token.as_bytes()).is_some() || token.starts_with("PREV(") {
        return Err(ExpressionError::Unsupported);
    }
    let index = source(token).and_then(|index| u16::try_from(index).ok());
    index.filter(|index| *index <= i16::MAX as u16).map(Node::Source).ok_or(ExpressionError::Syntax)
}

struct Shown<'a, N>(&'a Node, N);

impl<'a, N: Fn(usize) -> &'a str> fmt::Display for Shown<'_, N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Node::Number(number) => write!(f, "{number}"),
            Node::Source(source) => f.write_str((self.1)(usize::from(*source))),
            Node::Operator(operator) => f.write_str(operator.name()),
        }
    }
}

impl Stack {
    /// The value of the expression where the data sources have these values.
    ///
    /// A NaN has no sign here: the original's `ABS` makes the one NaN in a file that has another.
    pub(in crate::rrd) fn evaluate(
        &mut self,
        rpn: &Rpn,
        sources: &[f64],
        now_secs: i64,
    ) -> Result<f64, RpnError> {
        self.clear();
        for node in rpn.nodes() {
            match *node {
                Node::Number(number) => self.push(f64::from(number)),
                // The check has seen that its index is lower than that of the expression.
                Node::Source(source) => {
                    self.push(sources.get(usize::from(source)).copied().unwrap_or(UNKNOWN))
                }
                Node::Operator(operator) => self.operate(operator, now_secs)?,
            }
        }
        self.result()
    }
}
