//! What an expression can be made of besides the names of its variables.

use crate::rrd::number::number_prefix;

macro_rules! operators {
    ($($code:literal $operator:ident $name:literal,)*) => {
        /// What a step does with the values on the stack. The number is its code in files.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub(in crate::rrd) enum Operator { $($operator = $code,)* }

        const OPERATORS: &[(Operator, &str)] = &[$((Operator::$operator, $name),)*];
    };
}

operators! {
    2 Inf "INF", 4 NegInf "NEGINF", 5 Unkn "UNKN", 6 Now "NOW",
    8 Add "+", 9 Mod "%", 10 Sub "-", 11 Mul "*", 12 Div "/",
    13 Sin "SIN", 14 Dup "DUP", 15 Exc "EXC", 16 Pop "POP", 17 Cos "COS", 18 Log "LOG", 19 Exp "EXP",
    20 Lt "LT", 21 Le "LE", 22 Gt "GT", 23 Ge "GE", 24 Eq "EQ", 25 If "IF", 26 Min "MIN", 27 Max "MAX",
    28 Limit "LIMIT", 29 Floor "FLOOR", 30 Ceil "CEIL", 31 Un "UN", 34 Ne "NE", 35 IsInf "ISINF",
    38 Atan "ATAN", 39 Sqrt "SQRT", 40 Sort "SORT", 41 Rev "REV", 44 Atan2 "ATAN2",
    45 Rad2Deg "RAD2DEG", 46 Deg2Rad "DEG2RAD", 49 Avg "AVG", 50 Abs "ABS",
    51 AddNan "ADDNAN", 52 MinNan "MINNAN", 53 MaxNan "MAXNAN", 54 Median "MEDIAN",
    56 Depth "DEPTH", 57 Copy "COPY", 58 Roll "ROLL", 59 Index "INDEX",
    65 SMin "SMIN", 66 SMax "SMAX", 67 Stdev "STDEV", 68 Percent "PERCENT", 69 Pow "POW",
}

impl Operator {
    pub(in crate::rrd) fn from_name(name: &[u8]) -> Option<Self> {
        OPERATORS.iter().find(|(_, known)| known.as_bytes() == name).map(|(operator, _)| *operator)
    }

    pub(super) fn from_code(code: u8) -> Option<Self> {
        OPERATORS.iter().find(|(operator, _)| *operator as u8 == code).map(|(operator, _)| *operator)
    }

    pub(super) fn name(self) -> &'static str {
        OPERATORS.iter().find(|(operator, _)| *operator == self).map(|(_, name)| *name).unwrap_or_default()
    }
}

/// What a step of an expression over rows does that looks at the row's time, or at other rows. Means nothing in a data
/// source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::rrd) enum SeriesOperator {
    Time,
    LocalTime,
    Previous,
    Count,
    Trend,
    TrendNan,
    Predict,
    PredictSigma,
    PredictPerc,
    StepWidth,
    NewDay,
    NewWeek,
    NewMonth,
    NewYear,
}

const SERIES_OPERATORS: [(SeriesOperator, &str); 14] = [
    (SeriesOperator::Time, "TIME"),
    (SeriesOperator::LocalTime, "LTIME"),
    (SeriesOperator::Previous, "PREV"),
    (SeriesOperator::Count, "COUNT"),
    (SeriesOperator::Trend, "TREND"),
    (SeriesOperator::TrendNan, "TRENDNAN"),
    (SeriesOperator::Predict, "PREDICT"),
    (SeriesOperator::PredictSigma, "PREDICTSIGMA"),
    (SeriesOperator::PredictPerc, "PREDICTPERC"),
    (SeriesOperator::StepWidth, "STEPWIDTH"),
    (SeriesOperator::NewDay, "NEWDAY"),
    (SeriesOperator::NewWeek, "NEWWEEK"),
    (SeriesOperator::NewMonth, "NEWMONTH"),
    (SeriesOperator::NewYear, "NEWYEAR"),
];

impl SeriesOperator {
    pub(in crate::rrd) fn from_name(name: &[u8]) -> Option<Self> {
        SERIES_OPERATORS.iter().find(|(_, known)| known.as_bytes() == name).map(|(operator, _)| *operator)
    }
}

/// The number that a token is. As in the original it is one only where a comma follows it.
pub(in crate::rrd) fn number_token(token: &[u8], comma_follows: bool) -> Option<f64> {
    if !comma_follows || token.first().is_none_or(|first| matches!(first, b' ' | b'\t'..=b'\r')) {
        return None;
    }
    match number_prefix(token) {
        Some((number, [])) => Some(number),
        _ => None,
    }
}
