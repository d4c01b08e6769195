//! Any bytes as an archive: whatever passes the check can be read by every verb and updated without a panic, and is
//! still an archive afterwards.
#![no_main]

use latmon::rrd::{self, Cf, DsType, Header, Rrd};
use latmon::time::UnixTime;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    // The fuzzer does not find the cookies by itself, so a fresh archive is what it damages.
    let Some((recipe, patches)) = input.split_first_chunk::<4>() else { return };
    let mut bytes = if recipe[0] == 0 { patches.to_vec() } else { damaged(*recipe, patches) };
    let Ok(rrd) = Rrd::new_checked(&bytes[..]) else { return };
    read(&rrd);
    let last = rrd.last_update();
    let readings = rrd.data_sources().filter(|ds| !matches!(ds.ds_type, DsType::Compute(_)));
    let (sources, micros) = (readings.count(), i64::from(u16::from_le_bytes([recipe[2], recipe[3]])));
    let ahead = 1 + micros * if recipe[1] & 1 == 0 { 100_000 } else { 1_000_000_000 };
    let stamp = UnixTime::from_micros(last.micros() + ahead);
    let mut rrd = Rrd::new_checked(&mut bytes[..]).expect("it was checked a moment ago");
    if recipe[1] & 2 == 0 {
        let values: Vec<f64> = (0..sources).map(|index| index as f64 * 1e9).collect();
        let _ = rrd.update(stamp, &values);
    } else {
        let mut argument = format!("{}.5", stamp.secs()).into_bytes();
        argument.extend(b":17".repeat(sources));
        let _ = rrd.update_text(&argument, stamp);
    }
    let after = Rrd::new_checked(&bytes[..]).expect("an update keeps an archive whole");
    assert!(after.last_update() >= last);
    read(&after);
});

/// A fresh archive, some of whose words are overwritten: two bytes say where, eight with what.
fn damaged(recipe: [u8; 4], patches: &[u8]) -> Vec<u8> {
    let types = ["GAUGE", "COUNTER", "DCOUNTER", "DDERIVE"];
    let cfs = ["AVERAGE", "MIN", "MAX", "LAST"];
    let predict = if recipe[3] & 1 == 0 { "HWPREDICT" } else { "MHWPREDICT" };
    let pick = |names: [&'static str; 4], bits: u8| names[usize::from(bits & 3)];
    let step = latmon::time::Step::new(u32::from(recipe[2]) + 1).expect("it is at least 1");
    let mut definition = rrd::Definition {
        step,
        start: UnixTime::from_secs(1_700_000_000),
        data_sources: vec![
            format!("DS:a:{}:120:U:U", pick(types, recipe[0])).parse().expect("it is a data source"),
            format!("DS:b:{}:1:0:9", pick(types, recipe[0] >> 2)).parse().expect("it is a data source"),
            "DS:c:COMPUTE:1,2,3,2,AVG,3,SORT,IF".parse().expect("it is a data source"),
        ],
        archives: vec![
            format!("RRA:{}:0.5:1:5", pick(cfs, recipe[0] >> 4)).parse().expect("it is an archive"),
            format!("RRA:{}:0.2:3:4", pick(cfs, recipe[0] >> 6)).parse().expect("it is an archive"),
        ],
    };
    // With the four archives that it implies.
    definition.add(&format!("RRA:{predict}:8:0.1:0.2:6")).expect("it is an archive");
    let mut bytes = rrd::image(&definition).expect("the definition holds");
    for patch in patches.chunks_exact(10) {
        let at = usize::from(u16::from_le_bytes([patch[0], patch[1]])) % (bytes.len() - 7);
        bytes[at..at + 8].copy_from_slice(&patch[2..]);
    }
    bytes
}

fn read(rrd: &Rrd<&[u8]>) {
    /// A hostile header can ask for more rows than a fuzzer should wait for.
    const ROWS: usize = 64;
    for cf in Cf::ALL {
        for (ago, resolution) in [(0, 1), (100_000, 300), (i64::MAX, u64::MAX)] {
            let end = rrd.last_update();
            let start = UnixTime::from_secs((end.secs() - ago).max(0));
            let Ok(fetched) = rrd.fetch(cf, start, end, resolution) else { continue };
            let values = fetched.rows().take(ROWS).flat_map(|(_, row)| row.values());
            std::hint::black_box(values.filter(|value| value.is_nan()).count());
        }
    }
    for index in 0..=rrd.rra_count() {
        let _ = rrd.first(index);
    }
    let told: Result<(), std::fmt::Error> = rrd::info(rrd, b"f.rrd", |key, value| {
        std::hint::black_box(format!("{key} = {value}"));
        Ok(())
    });
    told.expect("nothing refuses it");
    if rrd.archives().map(|archive| archive.rows).sum::<u64>() < ROWS as u64 {
        rrd::dump(rrd, Header::Dtd, &mut std::io::sink()).expect("a sink takes everything");
    }
}
