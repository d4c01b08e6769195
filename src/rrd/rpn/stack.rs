//! The values that an expression works on, and what each operator does with them.

use crate::rrd::error::RpnError;
use crate::rrd::number::UNKNOWN;
use crate::rrd::rpn::operator::Operator;

/// The values that an expression works on; kept from one evaluation to the next for its memory.
#[derive(Debug, Default)]
pub(in crate::rrd) struct Stack(Vec<f64>);

impl Stack {
    pub(in crate::rrd) fn clear(&mut self) {
        self.0.clear();
    }

    pub(in crate::rrd) fn push(&mut self, value: f64) {
        self.0.push(value);
    }

    /// Takes the `count` topmost values off.
    pub(in crate::rrd) fn drop(&mut self, count: usize) {
        self.0.truncate(self.0.len().saturating_sub(count));
    }

    /// How much work the operator is, in values that it touches.
    pub(in crate::rrd) fn cost(&self, operator: Operator) -> u64 {
        match operator {
            Operator::Sort
            | Operator::Rev
            | Operator::Avg
            | Operator::Median
            | Operator::SMin
            | Operator::SMax
            | Operator::Stdev
            | Operator::Percent
            | Operator::Copy
            | Operator::Roll => self.0.len() as u64,
            _ => 0,
        }
    }

    pub(in crate::rrd) fn len(&self) -> usize {
        self.0.len()
    }

    /// What an expression leaves behind, which must be one value.
    pub(in crate::rrd) fn result(&self) -> Result<f64, RpnError> {
        match self.0[..] {
            [value] => Ok(value),
            _ => Err(RpnError::FinalSize),
        }
    }

    pub(in crate::rrd) fn operate(&mut self, operator: Operator, now_secs: i64) -> Result<(), RpnError> {
        use Operator as Op;
        match operator {
            Op::Inf => self.0.push(f64::INFINITY),
            Op::NegInf => self.0.push(f64::NEG_INFINITY),
            Op::Unkn => self.0.push(UNKNOWN),
            Op::Now => self.0.push(now_secs as f64),
            Op::Depth => self.0.push(self.0.len() as f64),
            Op::Pop => drop(self.pop()?),
            Op::Dup => {
                let value = self.pop()?;
                self.0.extend([value, value]);
            }
            Op::Exc => {
                let [a, b] = self.take()?;
                self.0.extend([b, a]);
            }
            Op::If => {
                let [condition, then, otherwise] = self.take()?;
                // What is unknown is false.
                self.0.push(if condition.is_nan() || condition == 0.0 { otherwise } else { then });
            }
            Op::Limit => {
                let [value, min, max] = self.take()?;
                // An unknown limit lets nothing through.
                let holds = value >= min && value <= max;
                self.0.push(if holds { value } else { UNKNOWN });
            }
            Op::Sin
            | Op::Cos
            | Op::Log
            | Op::Exp
            | Op::Floor
            | Op::Ceil
            | Op::Un
            | Op::IsInf
            | Op::Atan
            | Op::Sqrt
            | Op::Rad2Deg
            | Op::Deg2Rad
            | Op::Abs => {
                let value = self.pop()?;
                self.0.push(unary(operator, value));
            }
            Op::Sort
            | Op::Rev
            | Op::Avg
            | Op::Median
            | Op::SMin
            | Op::SMax
            | Op::Stdev
            | Op::Percent
            | Op::Copy
            | Op::Roll
            | Op::Index => self.over_many(operator)?,
            _ => {
                let [a, b] = self.take()?;
                self.0.push(binary(operator, a, b));
            }
        }
        Ok(())
    }

    /// The operators whose last operand says how many others they have.
    fn over_many(&mut self, operator: Operator) -> Result<(), RpnError> {
        use Operator as Op;
        match operator {
            Op::Percent => {
                let count = self.pop()?;
                let percent = self.pop()?;
                if !(0.0..=100.0).contains(&percent) {
                    return Err(RpnError::Percent);
                }
                let value = percentile(self.top(count)?, percent);
                self.replace(count, value)
            }
            Op::Avg | Op::Median | Op::SMin | Op::SMax | Op::Stdev => {
                let count = self.pop()?;
                // The one operator that does not crash at a negative count takes it for none.
                let count = if operator == Op::Avg && count < 0.0 { 0.0 } else { count };
                let value = summary(operator, self.top(count)?);
                self.replace(count, value)
            }
            Op::Sort => {
                let count = self.pop()?;
                sort(self.top(count)?);
                Ok(())
            }
            Op::Rev => {
                let count = self.pop()?.max(0.0);
                self.top(count)?.reverse();
                Ok(())
            }
            Op::Copy => {
                let count = self.pop()?;
                let start = self.0.len() - self.top(count)?.len();
                self.0.extend_from_within(start..);
                Ok(())
            }
            Op::Index => {
                let index = self.pop()?;
                // Number 0 is the operand itself.
                let value = self.top(index)?.first().copied().unwrap_or(index);
                self.0.push(value);
                Ok(())
            }
            _ => self.roll(),
        }
    }

    /// As the original does it: what is rolled is the topmost value, then the two operands, then what was behind them,
    /// for which we take zeros; and not the values that were meant.
    fn roll(&mut self) -> Result<(), RpnError> {
        let [count, by] = self.take()?;
        if count < 0.0 {
            return Err(RpnError::OutOfMemory(count as i64));
        }
        let len = self.top(count)?.len();
        let Some(topmost) = self.0.last().copied().filter(|_| len > 0) else { return Ok(()) };
        let mut rolled = [topmost, count, by].to_vec();
        rolled.resize(len, 0.0);
        rolled.reverse();
        rolled.rotate_right((by as i32).rem_euclid(len as i32) as usize);
        self.0.truncate(self.0.len() - len);
        self.0.extend(rolled);
        Ok(())
    }

    pub(in crate::rrd) fn pop(&mut self) -> Result<f64, RpnError> {
        self.0.pop().ok_or(RpnError::Underflow)
    }

    /// Takes the `N` topmost values off, the topmost last.
    pub(in crate::rrd) fn take<const N: usize>(&mut self) -> Result<[f64; N], RpnError> {
        let start = self.0.len().checked_sub(N).ok_or(RpnError::Underflow)?;
        let taken = std::array::from_fn(|index| self.0[start + index]);
        self.0.truncate(start);
        Ok(taken)
    }

    /// The topmost values. A count of less than zero, or none, makes the original crash.
    pub(in crate::rrd) fn top(&mut self, count: f64) -> Result<&mut [f64], RpnError> {
        let count = if count > -1.0 { count as usize } else { return Err(RpnError::Underflow) };
        let start = self.0.len().checked_sub(count).ok_or(RpnError::Underflow)?;
        Ok(&mut self.0[start..])
    }

    /// Puts `value` in the place of the topmost ones.
    fn replace(&mut self, count: f64, value: f64) -> Result<(), RpnError> {
        let start = self.0.len() - self.top(count)?.len();
        self.0.truncate(start);
        self.0.push(value);
        Ok(())
    }
}

fn unary(operator: Operator, value: f64) -> f64 {
    match operator {
        Operator::Sin => value.sin(),
        Operator::Cos => value.cos(),
        Operator::Log => value.ln(),
        Operator::Exp => value.exp(),
        Operator::Floor => value.floor(),
        Operator::Ceil => value.ceil(),
        Operator::Un => truth(value.is_nan()),
        Operator::IsInf => truth(value.is_infinite()),
        Operator::Atan => value.atan(),
        Operator::Sqrt => value.sqrt(),
        // The original's constants, which are no closer.
        Operator::Rad2Deg => 57.29577951 * value,
        Operator::Deg2Rad => 0.0174532952 * value,
        _ => value.abs(),
    }
}

fn binary(operator: Operator, a: f64, b: f64) -> f64 {
    let known = !a.is_nan() && !b.is_nan();
    let compared = |holds: bool| if known { truth(holds) } else { UNKNOWN };
    match operator {
        Operator::Add => a + b,
        Operator::Sub => a - b,
        Operator::Mul => a * b,
        Operator::Div => a / b,
        Operator::Mod => a % b,
        Operator::Pow => a.powf(b),
        Operator::Atan2 => a.atan2(b),
        Operator::Lt => compared(a < b),
        Operator::Le => compared(a <= b),
        Operator::Gt => compared(a > b),
        Operator::Ge => compared(a >= b),
        Operator::Eq => compared(a == b),
        Operator::Ne => compared(a != b),
        Operator::Min | Operator::Max if !known => UNKNOWN,
        _ if a.is_nan() => b,
        _ if b.is_nan() => a,
        Operator::AddNan => a + b,
        // Of zeros the sign of the first counts.
        Operator::Min | Operator::MinNan if a <= b => a,
        Operator::Min | Operator::MinNan => b,
        _ if a >= b => a,
        _ => b,
    }
}

/// What many values come to; those that are unknown do not count.
fn summary(operator: Operator, values: &[f64]) -> f64 {
    let known = || values.iter().copied().filter(|value| !value.is_nan());
    let count = known().count() as f64;
    if count == 0.0 {
        return UNKNOWN;
    }
    match operator {
        Operator::SMin => {
            known().rev().fold(f64::INFINITY, |least, value| if value < least { value } else { least })
        }
        Operator::SMax => {
            known().rev().fold(f64::NEG_INFINITY, |most, value| if value > most { value } else { most })
        }
        Operator::Median => {
            // In the original the last value takes the place of one that is unknown; where some are infinite, what
            // comes out of the sort depends on it.
            let mut known = values.to_vec();
            let mut index = 0;
            while index < known.len() {
                if known[index].is_nan() {
                    known.swap_remove(index);
                } else {
                    index += 1;
                }
            }
            sort(&mut known);
            let middle = known.len() / 2;
            if known.len() % 2 == 1 { known[middle] } else { (known[middle - 1] + known[middle]) / 2.0 }
        }
        Operator::Stdev => {
            // By Welford's running mean, from the top down as everywhere in the original: it shows in the last bits.
            let (mut mean, mut squares) = (0.0, 0.0);
            for (before, value) in known().rev().enumerate() {
                let delta = value - mean;
                mean += delta / (before + 1) as f64;
                squares += delta * (value - mean);
            }
            if count < 2.0 { UNKNOWN } else { (squares / (count - 1.0)).sqrt() }
        }
        _ => known().rev().fold(0.0, |sum, value| sum + value) / count,
    }
}

/// The value below which so many percent lie, unknown ones too. At 0 percent the original reads what is none of them.
fn percentile(values: &mut [f64], percent: f64) -> f64 {
    sort(values);
    let rank = (percent * values.len() as f64 / 100.0).round() as usize;
    values.get(rank.saturating_sub(1)).copied().unwrap_or(UNKNOWN)
}

fn truth(holds: bool) -> f64 {
    if holds { 1.0 } else { 0.0 }
}

/// Sorts, unknown values first. The original's comparison takes infinity for less, and minus infinity for more, than a
/// number before it, so that what comes out depends on who is compared with whom: a merge sort of halves, the first of
/// which is the shorter.
pub(in crate::rrd) fn sort(values: &mut [f64]) {
    if values.len() < 2 {
        return;
    }
    let (first, second) = values.split_at_mut(values.len() / 2);
    sort(first);
    sort(second);
    let (first, second) = (first.to_vec(), second.to_vec());
    let (mut first, mut second) = (first.iter().peekable(), second.iter().peekable());
    for place in values {
        let next = match (first.peek(), second.peek()) {
            (Some(a), Some(b)) if is_behind(**a, **b) => second.next(),
            (Some(_), _) => first.next(),
            (None, _) => second.next(),
        };
        *place = next.copied().unwrap_or(*place);
    }
}

fn is_behind(a: f64, b: f64) -> bool {
    if a.is_nan() || b.is_nan() {
        return !a.is_nan();
    }
    if a.is_infinite() || b.is_finite() { a > b || a == f64::INFINITY } else { b > 0.0 }
}
