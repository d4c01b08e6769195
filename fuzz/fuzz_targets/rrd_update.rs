//! Updates of a damaged archive that passes the check, forecasts among them: no panic, no end that does not come, and it
//! still is an archive afterwards.
#![no_main]

#[path = "support/archives.rs"]
mod archives;

use archives::{Input, damage, fresh, read};
use latmon::rrd::{DsType, Rrd};
use latmon::time::UnixTime;
use libfuzzer_sys::fuzz_target;

const UPDATES: u32 = 40;

fuzz_target!(|input: &[u8]| {
    let mut input = Input(input);
    let mut bytes = fresh(&mut input);
    for _ in 0..UPDATES {
        if input.0.is_empty() {
            break;
        }
        damage(&mut bytes, &mut input);
        let Ok(mut rrd) = Rrd::new_checked(&mut bytes[..]) else { return };
        let before = rrd.last_update();
        let is_taken = update(&mut rrd, &mut input);
        let after = Rrd::new_checked(&bytes[..]).expect("an update keeps an archive whole").last_update();
        assert!(if is_taken { after > before } else { after == before }, "{before:?} {after:?}");
    }
    if let Ok(rrd) = Rrd::new_checked(&bytes[..]) {
        read(&rrd);
    }
});

fn update(rrd: &mut Rrd<&mut [u8]>, input: &mut Input<'_>) -> bool {
    let stamp = next(rrd, input);
    let sources = rrd.data_sources().filter(|ds| !matches!(ds.ds_type, DsType::Compute(_))).count();
    let values: Vec<f64> = (0..sources.min(64)).map(|_| value(input)).collect();
    if input.byte() & 1 == 0 {
        return rrd.update(stamp, &values).is_ok();
    }
    let mut argument = format!("{}.{:06}", stamp.secs(), stamp.subsec_micros()).into_bytes();
    for value in values {
        // What counts takes whole numbers only.
        let text =
            if value.is_nan() { ":U".to_owned() } else { format!(":{}", value.abs().min(1e25).trunc()) };
        argument.extend(text.bytes());
    }
    if input.byte() == 0 {
        let at = usize::from(input.byte()) % argument.len();
        argument[at] = input.byte();
    }
    rrd.update_text(&argument, stamp).is_ok()
}

/// Mostly one or two steps on, or a part of one; now and then any time at all.
fn next(rrd: &Rrd<&mut [u8]>, input: &mut Input<'_>) -> UnixTime {
    let (last, step) = (rrd.last_update().micros(), i64::from(rrd.step().secs()) * 1_000_000);
    let any = i64::from(input.word());
    let micros = match input.byte() % 8 {
        0..=2 => last / step * step + step,
        3 => last / step * step + 2 * step,
        4 => last + any * 1000 + 1,
        5 => last + any % 100 * step,
        6 => last.saturating_add(any.saturating_mul(1_000_000_000_000)),
        _ => i64::from_le_bytes(input.bytes()),
    };
    UnixTime::from_micros(micros)
}

fn value(input: &mut Input<'_>) -> f64 {
    match input.byte() % 4 {
        0 => f64::from_le_bytes(input.bytes()),
        1 => f64::NAN,
        _ => f64::from(input.word()) / 16.0,
    }
}
