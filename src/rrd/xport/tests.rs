#![allow(clippy::unwrap_used)] // A helper that fails, fails its test.

use super::*;
use crate::rrd::file::Rrd;
use crate::rrd::{Definition, image};
use crate::time::Step;

const START: i64 = 1_700_000_000;

fn archive() -> Rrd<Vec<u8>> {
    let step = Step::new(10).unwrap();
    let definition = Definition {
        step,
        start: UnixTime::from_secs(START),
        data_sources: vec!["DS:a:GAUGE:30:U:U".parse().unwrap()],
        archives: vec!["RRA:AVERAGE:0.5:1:50".parse().unwrap(), "RRA:AVERAGE:0.5:6:50".parse().unwrap()],
    };
    Rrd::new_checked(image(&definition).unwrap()).unwrap()
}

fn export(rrd: &Rrd<Vec<u8>>, definitions: &[String]) -> Result<Vec<u8>, Error> {
    let time = UnixTime::from_secs;
    let options = XportOptions::new(time(START - 200), time(START + 200), 0, 400, time(START))?;
    let exported = Xport::parse(definitions, options)?.evaluate(|def| def.read(rrd))?;
    let mut out = Vec::new();
    exported.write(Format::default(), &mut out).unwrap();
    Ok(out)
}

/// Words that mean something, in any order: whatever they make, it is a table or an error, and it comes soon.
#[test]
fn no_definition_makes_it_panic() {
    const TOKENS: [&str; 46] = [
        "a",
        "c",
        "v",
        "PREV",
        "PREV(a)",
        "PREV(c)",
        "TIME",
        "LTIME",
        "COUNT",
        "STEPWIDTH",
        "NEWDAY",
        "NEWWEEK",
        "NOW",
        "TREND",
        "TRENDNAN",
        "PREDICT",
        "PREDICTSIGMA",
        "PREDICTPERC",
        "INF",
        "NEGINF",
        "UNKN",
        "DUP",
        "EXC",
        "POP",
        "COPY",
        "INDEX",
        "ROLL",
        "DEPTH",
        "SORT",
        "REV",
        "AVG",
        "MEDIAN",
        "PERCENT",
        "SMIN",
        "STDEV",
        "+",
        "*",
        "/",
        "IF",
        "0",
        "1",
        "2",
        "-3",
        "1e300",
        "-2147483649",
        "30",
    ];
    const NUMBERS: [&str; 10] = [
        "0",
        "1",
        "-1",
        "7",
        "60",
        "1700000000",
        "2147483648",
        "-9223372036854775808",
        "1e9",
        "9223372036854775807",
    ];
    let rrd = archive();
    let mut state = 1_u64;
    let mut below = |bound: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % bound
    };
    let mut tables = 0;
    for _ in 0..60 {
        let longest = [2, 9][below(2)];
        let expression: Vec<&str> = (0..=below(longest)).map(|_| TOKENS[below(TOKENS.len())]).collect();
        let number = NUMBERS[below(NUMBERS.len())];
        let definitions = [
            format!("DEF:a=f:a:AVERAGE:step={}", NUMBERS[below(NUMBERS.len())].trim_start_matches('-')),
            format!("DEF:c=f:a:AVERAGE:start={}:reduce=MAX", 1_600_000_000 + below(200_000_000)),
            ["VDEF:v=a,LAST", "VDEF:v=c,99,PERCENT", "VDEF:v=c,LSLINT"][below(3)].to_owned(),
            format!("SHIFT:a:{number}"),
            format!("CDEF:x=a,POP,{}", expression.join(",")),
            format!("CDEF:y=x,{number},TREND,PREV(c),ADDNAN"),
            "XPORT:x".to_owned(),
            "XPORT:c".to_owned(),
        ];
        // Without some of them more is left.
        let is_kept =
            |line: &&String| !(line.starts_with("SHIFT") || line.starts_with("CDEF:y")) || below(2) == 0;
        let definitions: Vec<String> = definitions.iter().filter(is_kept).cloned().collect();
        tables += usize::from(export(&rrd, &definitions).is_ok());
    }
    assert!(tables > 0);
}

#[test]
fn a_word_is_known_by_its_key_or_by_its_place() {
    let rrd = archive();
    let told = |definitions: &[&str]| {
        let definitions: Vec<String> = definitions.iter().map(|line| (*line).to_owned()).collect();
        export(&rrd, &definitions).map(|xml| String::from_utf8(xml).unwrap())
    };
    let plain = told(&["DEF:a=f:a:AVERAGE", "XPORT:a:x"]).unwrap();
    assert!(plain.contains("<rows>40</rows>") && plain.contains("<entry>x</entry>"));
    assert_eq!(told(&["DEF:cf=AVERAGE:ds=a:rrd=f:vname=a", "XPORT:legend=x:vname=a"]).unwrap(), plain);
    assert_eq!(told(&["DEF:b=f:a:AVERAGE", "CDEF:a=b", "XPORT:a:x"]).unwrap(), plain);
    assert!(matches!(told(&[]), Err(Error::Xport(XportError::Empty))));
    assert!(matches!(told(&["DEF:a=f:a:AVERAGE"]), Err(Error::Xport(XportError::NoColumn))));
}
