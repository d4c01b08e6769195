//! Archives made on 32-bit machines, which rrdtool on others cannot read: the file is an image of C structs, and those
//! are laid out otherwise there.
//!
//! | | x86-64, arm64 | i386 | armhf | armhf, 64-bit times |
//! |---|---|---|---|---|
//! | `stat_head`: length, test number, counts | 128, 16, 24 | 112, 12, 20 | 120, 16, 24 | 120, 16, 24 |
//! | `rra_def`: length, parameters | 120, 40 | 108, 28 | 112, 32 | 112, 32 |
//! | `live_head` | 16 | 8 | 8 | 16 |
//! | a count | 8 | 4 | 4 | 4 |
//!
//! The other parts have the same lengths everywhere, but of a count in them only the first four bytes are meant.

use crate::rrd::def::Cf;
use crate::rrd::file::{archive_def, check};
use crate::rrd::layout::{
    COOKIE, FLOAT_COOKIE, Layout, MICROSECONDS_SINCE, NAME_LEN, WORD, WORDS, bytes_at, cdp_prep, ds_def,
    f64_at, i64_at, live_head, pdp_prep, put, put_f64, rra_def, stat_head, u64_at,
};

/// The bytes that the archive would have here; `None` where it is none of a 32-bit machine.
pub fn foreign_image(bytes: &[u8]) -> Option<Vec<u8>> {
    if !bytes.starts_with(&COOKIE) {
        return None;
    }
    let images =
        || ABIS.iter().filter_map(|abi| Foreign::new(abi, bytes)).filter_map(|foreign| foreign.image());
    // A longer file is accepted too, but where one of the right length can be meant it is.
    let exact = images().find(|(_, len)| *len == bytes.len());
    exact.or_else(|| images().next()).map(|(image, _)| image)
}

/// How a machine lays the file out, where it differs from ours.
struct Abi {
    float_cookie: usize,
    counts: usize,
    stat_head_len: usize,
    parameters: usize,
    /// The last update's seconds; its microseconds follow, as a count.
    secs_len: usize,
}

const ABIS: [Abi; 3] = [
    Abi { float_cookie: 12, counts: 20, stat_head_len: 112, parameters: 28, secs_len: COUNT },
    Abi { float_cookie: 16, counts: 24, stat_head_len: 120, parameters: 32, secs_len: COUNT },
    Abi { float_cookie: 16, counts: 24, stat_head_len: 120, parameters: 32, secs_len: WORD },
];

/// A count, a row's number, seconds.
const COUNT: usize = 4;

/// Of ten words, which are counts; the others are numbers.
type Counts = &'static [usize];

/// A file of such a machine, as long as its header and rows say.
struct Foreign<'a> {
    abi: &'static Abi,
    bytes: &'a [u8],
    layout: Layout,
    version: u32,
    rows_len: usize,
}

impl<'a> Foreign<'a> {
    fn new(abi: &'static Abi, bytes: &'a [u8]) -> Option<Self> {
        let head = bytes.get(..abi.stat_head_len)?;
        if bytes_at::<WORD>(head, abi.float_cookie) != FLOAT_COOKIE {
            return None;
        }
        let version = std::str::from_utf8(&head[stat_head::VERSION..][..stat_head::VERSION_LEN - 1]).ok()?;
        let version = version.parse().ok()?;
        let [ds_count, rra_count] = [0, 1].map(|index| count_at(head, abi.counts + index * COUNT));
        // No part is more than twice as long here as there. How long the parts are there is asked below.
        let layout = Layout::new(ds_count, rra_count, version, 2 * bytes.len() as u64).ok()?;
        if layout.ds_count == 0 || layout.rra_count == 0 {
            return None;
        }
        let mut foreign = Self { abi, bytes, layout, version, rows_len: 0 };
        let rows_start = foreign.rows_start();
        bytes.get(..rows_start)?;
        for rra in 0..layout.rra_count {
            let rows = count_at(bytes, foreign.rra_def(rra) + NAME_LEN);
            foreign.rows_len = usize::try_from(rows)
                .ok()
                .and_then(|rows| rows.checked_mul(layout.row_len()))
                .and_then(|len| foreign.rows_len.checked_add(len))
                .filter(|len| *len <= bytes.len() - rows_start)?;
        }
        Some(foreign)
    }

    /// The bytes that it would have here, and how many of its own were read for that.
    fn image(&self) -> Option<(Vec<u8>, usize)> {
        let (layout, rows_start) = (self.layout, self.rows_start());
        let mut image = Vec::new();
        image.try_reserve_exact(layout.header_len() + self.rows_len).ok()?;
        image.resize(layout.header_len(), 0);
        self.put_defs(&mut image)?;
        self.put_live_part(&mut image);
        let end = rows_start + self.rows_len;
        for value in self.bytes[rows_start..end].chunks_exact(WORD) {
            let value = f64_at(value, 0);
            image.extend_from_slice(&crate::rrd::number::canonical(value).to_le_bytes());
        }
        check(&image, image.len() as u64).ok()?;
        Some((image, end))
    }

    fn put_defs(&self, image: &mut [u8]) -> Option<()> {
        let (abi, layout) = (self.abi, self.layout);
        let fixed = stat_head::VERSION + stat_head::VERSION_LEN;
        image[..fixed].copy_from_slice(&self.bytes[..fixed]);
        put(image, stat_head::FLOAT_COOKIE, FLOAT_COOKIE);
        for (index, at) in
            [stat_head::DS_COUNT, stat_head::RRA_COUNT, stat_head::STEP].into_iter().enumerate()
        {
            put(image, at, count_at(self.bytes, abi.counts + index * COUNT).to_le_bytes());
        }
        for ds in 0..layout.ds_count {
            let from = &self.bytes[abi.stat_head_len + ds * ds_def::LEN..][..ds_def::LEN];
            let def = &mut image[layout.ds_def(ds)..][..ds_def::LEN];
            def[..ds_def::HEARTBEAT].copy_from_slice(&from[..ds_def::HEARTBEAT]);
            if from[ds_def::TYPE..].starts_with(b"COMPUTE\0") {
                // Its expression, which is the same everywhere.
                def.copy_from_slice(from);
            } else {
                put_words(&mut def[ds_def::HEARTBEAT..], &from[ds_def::HEARTBEAT..], &[0]);
            }
        }
        for rra in 0..layout.rra_count {
            let from = &self.bytes[self.rra_def(rra)..][..self.rra_def_len()];
            let def = &mut image[layout.rra_def(rra)..][..rra_def::LEN];
            def[..NAME_LEN].copy_from_slice(&from[..NAME_LEN]);
            put(def, rra_def::ROWS, count_at(from, NAME_LEN).to_le_bytes());
            put(def, rra_def::PDP_PER_ROW, count_at(from, NAME_LEN + COUNT).to_le_bytes());
            let name = from[..NAME_LEN].split(|b| *b == 0).next().unwrap_or_default();
            let counts: Counts = match Cf::from_name(name)? {
                Cf::Average | Cf::Min | Cf::Max | Cf::Last => &[],
                Cf::HwPredict | Cf::MhwPredict | Cf::DevPredict => &[3],
                Cf::Seasonal | Cf::DevSeasonal => &[3, 4],
                Cf::Failures => &[3, 4, 5],
            };
            put_words(&mut def[rra_def::PARAMETERS..], &from[abi.parameters..], counts);
        }
        Some(())
    }

    fn put_live_part(&self, image: &mut [u8]) {
        let layout = self.layout;
        let mut at = self.live_head();
        let secs = match self.abi.secs_len {
            WORD => i64_at(self.bytes, at),
            // The seconds of the last update are signed there.
            _ => i64::from(count_at(self.bytes, at) as i32),
        };
        put(image, layout.live_head() + live_head::SECS, secs.to_le_bytes());
        if layout.has_micros() {
            let micros = count_at(self.bytes, at + self.abi.secs_len);
            put(image, layout.live_head() + live_head::MICROS, micros.to_le_bytes());
        }
        at += self.live_head_len();
        for ds in 0..layout.ds_count {
            let from = &self.bytes[at..][..pdp_prep::LEN];
            let prep = &mut image[layout.pdp_prep(ds)..][..pdp_prep::LEN];
            let text = pdp_prep::LAST_DS..pdp_prep::UNKNOWN_SECS;
            prep[text.clone()].copy_from_slice(&from[text]);
            put_words(&mut prep[pdp_prep::UNKNOWN_SECS..], &from[pdp_prep::UNKNOWN_SECS..], &[0]);
            at += pdp_prep::LEN;
        }
        for rra in 0..layout.rra_count {
            let counts: Counts = match archive_def(image, layout, rra).cf {
                Cf::HwPredict | Cf::MhwPredict => &[6, 7],
                Cf::Seasonal | Cf::DevSeasonal => &[6],
                // Bytes, and no counts.
                Cf::Failures => &[],
                _ => &[1],
            };
            for ds in 0..layout.ds_count {
                let prep = &mut image[layout.cdp_prep(rra, ds)..][..cdp_prep::LEN];
                put_words(prep, &self.bytes[at..][..cdp_prep::LEN], counts);
                at += cdp_prep::LEN;
            }
        }
        for rra in 0..layout.rra_count {
            put(image, layout.rra_ptr(rra), count_at(self.bytes, at + rra * COUNT).to_le_bytes());
        }
    }

    fn rra_def_len(&self) -> usize {
        self.abi.parameters + WORDS
    }

    fn rra_def(&self, rra: usize) -> usize {
        self.abi.stat_head_len + self.layout.ds_count * ds_def::LEN + rra * self.rra_def_len()
    }

    fn live_head(&self) -> usize {
        self.rra_def(self.layout.rra_count)
    }

    fn live_head_len(&self) -> usize {
        // With its padding it is as long as twice the seconds.
        if self.version < MICROSECONDS_SINCE { self.abi.secs_len } else { 2 * self.abi.secs_len }
    }

    fn rows_start(&self) -> usize {
        let Layout { ds_count, rra_count, .. } = self.layout;
        self.live_head()
            + self.live_head_len()
            + ds_count * pdp_prep::LEN
            + ds_count * rra_count * cdp_prep::LEN
            + rra_count * COUNT
    }
}

/// Copies ten words; what follows the four bytes of a count is nobody's.
fn put_words(to: &mut [u8], from: &[u8], counts: Counts) {
    for slot in 0..WORDS / WORD {
        let at = slot * WORD;
        if counts.contains(&slot) {
            put(to, at, count_at(from, at).to_le_bytes());
        } else if f64_at(from, at).is_nan() {
            // That of an ARM has another sign.
            put_f64(to, at, f64_at(from, at));
        } else {
            put(to, at, u64_at(from, at).to_le_bytes());
        }
    }
}

fn count_at(bytes: &[u8], at: usize) -> u64 {
    u64::from(u32::from_le_bytes(bytes_at(bytes, at)))
}
