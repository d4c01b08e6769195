#![allow(clippy::unwrap_used)] // A helper that fails, fails its test.

use super::*;
use crate::rrd::error::{ExpressionError, RpnError};
use crate::rrd::layout::WORD;
use crate::rrd::number::UNKNOWN;

fn rpn(text: &str) -> Result<Rpn, ExpressionError> {
    Rpn::parse(text, |name| ["a", "b"].iter().position(|known| *known == name))
}

fn value(text: &str) -> Result<f64, RpnError> {
    Stack::default().evaluate(&rpn(text).unwrap(), &[3.5, UNKNOWN], 1_700_000_000)
}

/// What rrdtool 1.7.2 stored for these, with a = 3.5 and b unknown.
#[test]
fn values_are_those_of_rrdtool() {
    let known = [
        ("a,2,*", 7.0),
        ("a,2,%", 1.5),
        ("-5,3,%", -2.0),
        ("b,1,2,IF", 2.0),
        ("INF,1,2,IF", 1.0),
        ("a,b,ADDNAN", 3.5),
        ("b,a,MAXNAN", 3.5),
        ("b,UN", 1.0),
        ("1,0,-1,*,0,MAX,/", f64::NEG_INFINITY),
        ("1,0,0,-1,*,MIN,/", f64::INFINITY),
        ("b,ISINF", 0.0),
        ("INF,1,INF,LIMIT", f64::INFINITY),
        ("1,2,b,3,AVG", 1.5),
        ("2,9,b,1,4,MEDIAN", 2.0),
        ("2,9,4,1,4,MEDIAN", 3.0),
        ("1,2,b,3,SMAX", 2.0),
        ("1,2,b,4,50,4,PERCENT", 1.0),
        ("1,2,3,4,37,4,PERCENT", 1.0),
        ("1,2,3,4,38,4,PERCENT", 2.0),
        ("1,2,2,COPY,+,+,+", 6.0),
        ("1,2,1,INDEX,+,+", 5.0),
        ("1,2,0,INDEX,+,+", 3.0),
        ("1,2,DEPTH,+,+", 5.0),
        ("7,NEGINF,5,3,SORT,POP,POP", 7.0),
        ("7,5,NEGINF,3,MEDIAN", 7.0),
        ("NEGINF,7,5,3,MEDIAN", 5.0),
        ("b,1,2,INF,4,MEDIAN", 2.0),
        ("10,200,3000,3,1,ROLL,POP,POP", 3000.0),
        ("10,200,3000,3,-1,ROLL,EXC,POP,EXC,POP", -1.0),
        ("3000,7,2,1,ROLL,-", 5.0),
        ("NOW", 1_700_000_000.0),
    ];
    for (text, wanted) in known {
        assert_eq!(value(text), Ok(wanted), "{text}");
    }
    for text in ["b,b,EQ", "a,b,MIN", "a,4,1,LIMIT", "b,b,2,AVG", "1,1,STDEV", "-1,LOG", "0,AVG"] {
        assert!(value(text).unwrap().is_nan(), "{text}");
    }
}

#[test]
fn a_stack_that_is_too_small_or_too_large_is_an_error() {
    for text in ["a,+", "POP", "1,a,SORT", "1,2,b,COPY", "1,INF,AVG", "5,-1,SORT", "b,INDEX"] {
        assert_eq!(value(text), Err(RpnError::Underflow), "{text}");
    }
    assert_eq!(value("a,DUP"), Err(RpnError::FinalSize));
    assert_eq!(value("a,POP"), Err(RpnError::FinalSize));
    assert_eq!(value("5,0,MEDIAN"), Err(RpnError::FinalSize));
    assert_eq!(value("1,2,101,2,PERCENT"), Err(RpnError::Percent));
    assert_eq!(value("5,-1,1,ROLL"), Err(RpnError::OutOfMemory(-1)));
}

#[test]
fn what_is_stored_is_read_back_and_printed() {
    let expression = rpn("1e3,+5,a,b,-32768,UNKN,STDEV,").unwrap();
    let mut parameters = [0; 10 * WORD];
    expression.write(&mut parameters);
    assert_eq!(Rpn::read(&parameters, 2), Some(expression));
    assert_eq!(expression.text(|index| ["a", "b"][index]), "1000,5,a,b,-32768,UNKN,STDEV");
    assert_eq!(expression.last_source(), Some(1));
    // An expression on itself, one without an end, one with an operator of graphs.
    assert_eq!(Rpn::read(&parameters, 1), None);
    assert_eq!(Rpn::read(&[0; 10 * WORD], 1), None);
    assert_eq!(Rpn::read(&[7, 0, 0, 0, 32, 0, 0, 0], 1), None);
}
